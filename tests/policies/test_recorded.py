"""Candidates are paid for once and replayed exactly."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from no_servers import NO_SERVERS
from omegaconf import DictConfig
from paths import step_after

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Sampling
from codetool.policies.recorded import CandidateRecord, RecordingPolicy
from codetool.policies.replay import ReplayPolicyConfig
from codetool.prompts.policy_prompt import StepPrompt
from codetool.prompts.step_parser import parse_step
from codetool.types import Candidate, Node, Task

SAMPLING = Sampling(0.9, 0.95, 64)


class Counting:
    """A policy that numbers what it writes, so that a second draw is seen."""

    def __init__(self) -> None:
        self.drawn = 0
        self.asked: list[tuple[int, int]] = []

    async def propose(
        self,
        task: Task,
        path: Sequence[Node],
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        tried: Sequence[Node] = (),
    ) -> Sequence[Candidate]:
        self.asked.append((first, n))
        await asyncio.sleep(0.01)
        self.drawn += n
        k = len(path) + 1
        texts = [f"##Step {k}: {self.drawn - n + i}\n```python\nprint({i})\n```" for i in range(n)]
        return [Candidate(text, parse_step(text, k), 5 if i == 0 else 0, 3) for i, text in enumerate(texts)]


def recorded(
    inner: Counting | None, known: Sequence[CandidateRecord], prompt: StepPrompt, sampling: Sampling = SAMPLING
) -> Any:
    records: list[CandidateRecord] = []
    return RecordingPolicy(inner, prompt=prompt, sampling=sampling, records=known, append=records.extend), records


async def test_a_second_run_draws_nothing_and_gets_the_same(task: Task, prompt: StepPrompt) -> None:
    policy, records = recorded(Counting(), [], prompt)
    drawn = await policy.propose(task, (), 3)
    again, more = recorded(None, records, prompt)
    assert await again.propose(task, (), 3) == drawn
    assert [(c.tokens_in, c.tokens_out) for c in drawn] == [(5, 3), (0, 3), (0, 3)]
    assert not more


@pytest.mark.parametrize("records_tokens", [True, False])
async def test_tokens_are_recorded_where_they_are_wanted_and_known_and_replayed(
    task: Task, prompt: StepPrompt, records_tokens: bool
) -> None:
    class Telling(Counting):
        async def propose(self, *args: Any, **options: Any) -> Sequence[Candidate]:
            first, second = await super().propose(*args, **options)
            return [replace(first, tokens=(5, 6), token_log_probabilities=(-0.5, -1.25)), second]

    records: list[CandidateRecord] = []
    policy = RecordingPolicy(
        Telling(), prompt=prompt, sampling=SAMPLING, records=(), append=records.extend, records_tokens=records_tokens
    )
    drawn = await policy.propose(task, (), 2)
    assert [("tokens" in record, "token_log_probabilities" in record) for record in records] == [
        (records_tokens, records_tokens),
        (False, False),
    ]
    expected = ((5, 6), (-0.5, -1.25)) if records_tokens else ((), ())
    assert (drawn[0].tokens, drawn[0].token_log_probabilities) == expected
    written = [json.loads(json.dumps(record)) for record in records]
    replayed = RecordingPolicy(None, prompt=prompt, sampling=SAMPLING, records=written)
    assert await replayed.propose(task, (), 2) == drawn


async def test_the_log_probability_is_recorded_where_it_is_known_and_replayed(task: Task, prompt: StepPrompt) -> None:
    class Telling(Counting):
        async def propose(self, *arguments: Any, **options: Any) -> Sequence[Candidate]:
            first, second = await super().propose(*arguments, **options)
            return [replace(first, log_probability=-1.5), second]

    policy, records = recorded(Telling(), [], prompt)
    drawn = await policy.propose(task, (), 2)
    assert [record.get("log_probability", "absent") for record in records] == [-1.5, "absent"]
    again, _ = recorded(None, json.loads(json.dumps(records)), prompt)
    assert await again.propose(task, (), 2) == drawn
    assert [candidate.log_probability for candidate in drawn] == [-1.5, None]


async def test_further_code_blocks_are_counted_and_said_once(
    task: Task, prompt: StepPrompt, caplog: pytest.LogCaptureFixture
) -> None:
    class Two(Counting):
        async def propose(self, *arguments: Any, **options: Any) -> Sequence[Candidate]:
            text = "##Step 1: a\n```python\nprint(1)\n```\nor\n```python\nprint(2)\n```"
            return [Candidate(text, parse_step(text, 1)) for _ in range(3)]

    policy, records = recorded(Two(), [], prompt)
    drawn = await policy.propose(task, (), 3)
    assert [each.step.code for each in drawn] == ["print(1)"] * 3
    assert [record["unused_blocks"] for record in records] == [1, 1, 1]
    assert sum("further Python blocks" in record.message for record in caplog.records) == 1


async def test_only_what_is_missing_is_drawn(task: Task, prompt: StepPrompt) -> None:
    policy, records = recorded(Counting(), [], prompt)
    await policy.propose(task, (), 5)
    inner = Counting()
    partly, more = recorded(inner, [records[1], records[4]], prompt)
    await partly.propose(task, (), 6)
    assert inner.asked == [(0, 1), (2, 2), (5, 1)]
    assert [record["index"] for record in more] == [0, 2, 3, 5]


async def test_later_indices_are_other_candidates(task: Task, prompt: StepPrompt) -> None:
    policy, _ = recorded(Counting(), [], prompt)
    first, then = await policy.propose(task, (), 2), await policy.propose(task, (), 2, first=2)
    assert not {c.raw for c in first} & {c.raw for c in then}


async def test_records_have_the_agreed_fields(task: Task, prompt: StepPrompt) -> None:
    policy, records = recorded(Counting(), [], prompt)
    await policy.propose(task, step_after(None, "a").path, 1)
    record = json.loads(json.dumps(records[0]))
    assert {"task_id", "path", "key", "index", "text", "tokens_in", "tokens_out"} <= record.keys()
    assert (record["task_id"], record["path"], record["index"], len(record["key"])) == ("t1", "1", 0, 64)


async def test_equal_paths_drawn_at_once_are_drawn_once(task: Task, prompt: StepPrompt) -> None:
    inner = Counting()
    policy, records = recorded(inner, [], prompt)
    one, two = await asyncio.gather(policy.propose(task, (), 2), policy.propose(task, (), 2))
    assert one == two
    assert (inner.drawn, len(records)) == (2, 2)


@pytest.mark.parametrize("changed", ["prompt", "sampling", "observation", "task"])
async def test_what_determines_a_draw_is_part_of_its_key(task: Task, prompt: StepPrompt, changed: str) -> None:
    policy, records = recorded(Counting(), [], prompt)
    await policy.propose(task, step_after(None, "a", "one").path, 1)
    other = StepPrompt(
        instruction="Do {{ query }}", result="{{ output }}", max_observation_chars=9, max_response_chars=9
    )
    replayed, _ = recorded(
        None,
        records,
        other if changed == "prompt" else prompt,
        Sampling(0.8, 0.95, 64) if changed == "sampling" else SAMPLING,
    )
    path = step_after(None, "a", "two" if changed == "observation" else "one").path
    with pytest.raises(MissingError):
        await replayed.propose(Task("t2", task.query, task.tools) if changed == "task" else task, path, 1)


async def test_a_miss_names_task_step_candidate_and_reason(task: Task, prompt: StepPrompt) -> None:
    policy, records = recorded(Counting(), [], prompt)
    await policy.propose(task, (), 2)
    replayed, _ = recorded(None, records, prompt)
    with pytest.raises(MissingError, match=r"candidate 3 for step 1 of task t1; only 2 .*search\.n"):
        await replayed.propose(task, (), 3)
    with pytest.raises(MissingError, match=r"candidate 1 for step 2 of task t1; .*prompt"):
        await replayed.propose(task, step_after(None, "a").path, 1)
    with pytest.raises(MissingError, match=r"task t9; nothing was recorded for this task"):
        await replayed.propose(Task("t9", "q", ()), (), 1)


# Replay


async def folder_of(path: Path, task: Task, prompt: StepPrompt, sampling: Sampling = SAMPLING) -> list[Candidate]:
    """A run folder with two recorded candidates."""
    policy, records = recorded(Counting(), [], prompt, sampling)
    drawn = await policy.propose(task, (), 2)
    path.mkdir(exist_ok=True)
    with (path / "candidates.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return list(drawn)


def replay(prompt: StepPrompt, *source: Path, **sampling: float | int | None) -> ReplayPolicyConfig:
    fields: dict[str, Any] = {"temperature": None, "top_p": None, "max_tokens": None} | sampling
    return ReplayPolicyConfig(model="replay", source=source, prompt=prompt, **fields)


@pytest.mark.parametrize("name", ["", "candidates.jsonl"])
async def test_a_folder_or_its_file_is_replayed(task: Task, prompt: StepPrompt, tmp_path: Path, name: str) -> None:
    drawn = await folder_of(tmp_path / "run", task, prompt)
    async with replay(prompt, tmp_path / "run" / name).open(NO_SERVERS) as policy:
        assert list(await policy.propose(task, (), 2)) == drawn


async def test_several_folders_are_replayed(task: Task, prompt: StepPrompt, tmp_path: Path) -> None:
    other = Task("t2", "q", ())
    drawn = [await folder_of(tmp_path / "a", task, prompt), await folder_of(tmp_path / "b", other, prompt)]
    async with replay(prompt, tmp_path / "a", tmp_path / "b").open(NO_SERVERS) as policy:
        assert [list(await policy.propose(t, (), 2)) for t in (task, other)] == drawn


async def test_a_torn_last_line_is_tolerated(task: Task, prompt: StepPrompt, tmp_path: Path) -> None:
    drawn = await folder_of(tmp_path, task, prompt)
    with (tmp_path / "candidates.jsonl").open("a") as file:
        file.write('{"task_id": "t1", "te')
    async with replay(prompt, tmp_path).open(NO_SERVERS) as policy:
        assert list(await policy.propose(task, (), 2)) == drawn


async def test_of_a_candidate_recorded_twice_the_last_one_counts(
    task: Task, prompt: StepPrompt, tmp_path: Path
) -> None:
    await folder_of(tmp_path, task, prompt)
    lines = (tmp_path / "candidates.jsonl").read_text().splitlines()
    changed = json.dumps(json.loads(lines[0]) | {"text": "later"})
    (tmp_path / "candidates.jsonl").write_text("\n".join([*lines, changed]) + "\n")
    async with replay(prompt, tmp_path).open(NO_SERVERS) as policy:
        assert (await policy.propose(task, (), 1))[0].raw == "later"


async def test_sampling_is_taken_as_recorded_or_chosen(task: Task, prompt: StepPrompt, tmp_path: Path) -> None:
    drawn = await folder_of(tmp_path, task, prompt)
    await folder_of(tmp_path, task, prompt, Sampling(0, 1.0, 64))
    with pytest.raises(ConfigError, match=r"policy\.temperature=0 .*; policy\.temperature=0\.9 .*several"):
        async with replay(prompt, tmp_path).open(NO_SERVERS):
            pass
    async with replay(prompt, tmp_path, temperature=0.9).open(NO_SERVERS) as policy:
        assert list(await policy.propose(task, (), 2)) == drawn
    with pytest.raises(ConfigError, match="none of them"):
        async with replay(prompt, tmp_path, temperature=0.3).open(NO_SERVERS):
            pass


async def test_a_replay_can_be_replayed(task: Task, prompt: StepPrompt, tmp_path: Path) -> None:
    drawn = await folder_of(tmp_path / "a", task, prompt)
    option = replay(prompt, tmp_path / "a")
    async with option.open(NO_SERVERS) as policy:
        records: list[CandidateRecord] = []
        await RecordingPolicy(
            policy, prompt=prompt, sampling=option.sampling, records=(), append=records.extend
        ).propose(task, (), 2)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "candidates.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    async with replay(prompt, tmp_path / "b").open(NO_SERVERS) as policy:
        assert list(await policy.propose(task, (), 2)) == drawn


async def test_missing_sources_are_told(prompt: StepPrompt, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.source is empty"):
        async with replay(prompt).open(NO_SERVERS):
            pass
    (tmp_path / "results.jsonl").write_text('{"task_id": "t1"}\n')
    with pytest.raises(ConfigError, match=r"results\.jsonl holds other records"):
        async with replay(prompt, tmp_path / "results.jsonl").open(NO_SERVERS):
            pass
    with pytest.raises(MissingError, match="nowhere"):
        async with replay(prompt, tmp_path / "nowhere").open(NO_SERVERS):
            pass


async def test_the_option_takes_a_list_from_the_command_line(
    composed: Callable[..., DictConfig], task: Task, tmp_path: Path
) -> None:
    from hydra.utils import instantiate

    option = instantiate(composed("policy=replay", f"policy.source=[{tmp_path}]").policy, _convert_="all")
    assert option.source == (tmp_path,)


def test_a_source_is_known_by_what_it_holds(prompt: StepPrompt, tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "candidates.jsonl").write_text(content)
    a, b, c = (tmp_path / name for name in "abc")
    same = [(a,), (b,), (a / "candidates.jsonl",), (a, b)]
    assert len({replay(prompt, *sources).checksum() for sources in same}) == 1
    assert replay(prompt, c).checksum() != replay(prompt, a).checksum() != replay(prompt, a, c).checksum()
