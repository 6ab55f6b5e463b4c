"""`process.jsonl` and `transcripts.jsonl`, written and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tree_world import JUDGE, POLICY, TASK, rollout, settings

from codetool.errors import ConfigError, MissingError
from codetool.model_types import PolicyStep, Sampling
from codetool.process_data import examples, transcripts
from codetool.process_data.labels import label_steps
from codetool.process_data.policy_steps import load_policy_steps, save_policy_steps
from codetool.process_data.rollouts import estimate_steps

TREE = rollout({"1-1": True, "1-2": False, "2": False}, times={"1": 2}, failed=("2",))
FOUND = examples.make_process_examples(TASK, label_steps(TREE, settings()), JUDGE)


def test_an_example_has_what_a_prm_is_asked() -> None:
    one = next(example for example in FOUND if example.node_id == "1-2")
    asked = JUDGE.messages(TASK, TREE.nodes[1:2], TREE.nodes[-1].step)  # type: ignore[arg-type]
    assert JUDGE.with_candidate(one.prefix, 2, one.step) == asked
    assert "saw 1)" not in one.prefix[1]["content"] and "saw 1" in one.prefix[1]["content"]


def test_examples_are_read_as_they_were_written(tmp_path: Path) -> None:
    examples.save_examples(tmp_path / "process.jsonl", FOUND)
    assert examples.load_examples([tmp_path]) == FOUND
    assert examples.load_examples([tmp_path / "process.jsonl", tmp_path]) == [*FOUND, *FOUND]


def test_the_fields_are_those_of_the_contract(tmp_path: Path) -> None:
    examples.save_examples(tmp_path / "process.jsonl", FOUND)
    line = json.loads((tmp_path / "process.jsonl").read_text().splitlines()[0])
    assert list(line) == [
        "task_id", "node_id", "group", "prefix", "step", "executed", "soft", "hard", "latent", "label", "multiplicity",
        "result",
    ]  # fmt: skip
    assert (line["multiplicity"], line["label"], line["soft"]) == (2, True, 0.5)
    assert line["result"] == "Saw (ok): saw 1"
    old = json.dumps({name: value for name, value in line.items() if name != "result"})
    (tmp_path / "process.jsonl").write_text(old)
    assert examples.load_examples([tmp_path])[0].result is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{not json", "line 2: "),
        ('{"task_id": "t"}', "line 2: node_id: Field required"),
        ("[]", "line 2: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / "process.jsonl"
    examples.save_examples(file, FOUND[:1])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ConfigError) as error:
        examples.load_examples([file])
    assert f"{file}, {expected}" in str(error.value)


def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    file = tmp_path / "process.jsonl"
    examples.save_examples(file, FOUND[:1])
    file.write_text(file.read_text().replace('"soft":0.5', '"soft":"much"'))
    with pytest.raises(ConfigError, match="line 1: soft: "):
        examples.load_examples([file])


def test_files_that_are_missing_or_empty_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere is not there"):
        examples.load_examples([tmp_path / "nowhere"])
    with pytest.raises(MissingError, match="holds no process.jsonl.*stage=collect"):
        examples.load_examples([tmp_path])
    (tmp_path / "process.jsonl").touch()
    with pytest.raises(MissingError, match="is empty. Run the command that wrote it again"):
        examples.load_examples([tmp_path])


def test_a_transcript_is_what_the_policy_sees_and_ends_with_its_last_step() -> None:
    [transcript] = transcripts.make_transcripts(TREE, POLICY, max_transcripts=4)
    leaf = next(node for node in TREE.nodes if node.id == "1-1")
    assert list(transcript.messages) == POLICY.messages(TASK, leaf.path)[:-1]
    assert transcript.messages[-1] == {"role": "assistant", "content": "##Step: do 1-1\n[Step 2 Finished]"}
    assert transcript.weights == (0, 1, 0, 1)


def test_steps_that_failed_are_read_and_not_learnt() -> None:
    tree = rollout({"1-1-1": True}, failed=("1-1",))
    [transcript] = transcripts.make_transcripts(tree, POLICY, max_transcripts=4)
    assert transcript.weights == (0, 1, 0, 0, 0, 1)


def test_paths_with_fewest_failed_steps_come_first_then_the_shortest() -> None:
    tree = rollout(
        {"1": True, "2-1": True, "3-1-1": True, "4": False, "10": True}, failed=("1", "10")
    )  # 1 and 10 have a failed step each
    ends = [
        transcript.messages[-1]["content"]
        for transcript in transcripts.make_transcripts(tree, POLICY, max_transcripts=3)
    ]
    assert [end.split("\n")[0] for end in ends] == ["##Step: do 2-1", "##Step: do 3-1-1", "##Step: do 1"]


def test_transcripts_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = transcripts.make_transcripts(rollout({"1-1": True, "2": True}, failed=("1",)), POLICY, max_transcripts=4)
    transcripts.save_transcripts(tmp_path / "transcripts.jsonl", written)
    assert transcripts.load_transcripts([tmp_path]) == written
    message = json.loads((tmp_path / "transcripts.jsonl").read_text().splitlines()[1])["messages"][1]
    assert (message["role"], message["weight"]) == ("assistant", 0)


def test_the_reward_of_a_message_is_the_share_of_successes_below_its_step(tmp_path: Path) -> None:
    estimates = estimate_steps(TREE, settings())
    [written] = transcripts.make_transcripts(TREE, POLICY, max_transcripts=4, estimates=estimates)
    assert written.rewards == (0.5, 1.0)
    transcripts.save_transcripts(tmp_path / "transcripts.jsonl", [written])
    assert transcripts.load_transcripts([tmp_path]) == [written]
    line = json.loads((tmp_path / "transcripts.jsonl").read_text())
    (tmp_path / "transcripts.jsonl").write_text(json.dumps(line | {"rewards": [1.0]}))
    with pytest.raises(ConfigError, match="line 1: Value error, rewards has 1 numbers for 2 assistant messages"):
        transcripts.load_transcripts([tmp_path])


ASKED = ({"role": "user", "content": "q"},)
DRAWN = [
    PolicyStep(
        task_id="t", node_id="1", group="0", prompt=ASKED, completion="a", ending="[stop]", executed=True,
        finished=False, soft=0.5, hard=True, multiplicity=2, tokens=(3, 4), log_probabilities=(-0.5, -0.25),
    ),
    PolicyStep(
        task_id="t", node_id="1-1", group="1", completion="b", ending="", executed=False, finished=True, reward=0.0,
        prompt=(*ASKED, {"role": "assistant", "content": "a"}, {"role": "user", "content": "saw"}),
    ),
]  # fmt: skip


def test_policy_steps_are_read_as_they_were_written_and_hold_each_message_once(tmp_path: Path) -> None:
    save_policy_steps(tmp_path / "policy_steps.jsonl", [DRAWN, []], Sampling(0.9, 0.95, 64))
    assert load_policy_steps([tmp_path]) == DRAWN
    [line] = map(json.loads, (tmp_path / "policy_steps.jsonl").read_text().splitlines())
    assert [message["content"] for message in line["messages"]] == ["q", "a", "saw"]
    assert line["sampling"] == {"temperature": 0.9, "top_p": 0.95, "max_tokens": 64}
    assert [step["depth"] for step in line["steps"]] == [1, 2] and "tokens" not in line["steps"][1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": [0, 7]}, "the prompt of step 1 names messages that are not there"),
        ({"tokens": [3]}, "step 1 has tokens and log_probabilities of different number"),
        ({"soft": 2}, "steps.0.soft: Input should be less than or equal to 1"),
    ],
)
def test_a_wrong_policy_step_is_named(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    file = tmp_path / "policy_steps.jsonl"
    save_policy_steps(file, [DRAWN], Sampling(0.9, 0.95, 64))
    line = json.loads(file.read_text())
    line["steps"][0] |= change
    file.write_text(json.dumps(line))
    with pytest.raises(ConfigError, match=f"line 1: .*{expected}"):
        load_policy_steps([file])


def test_an_assistant_message_without_weight_is_learnt(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(
        '{"task_id": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'
    )
    [transcript] = transcripts.load_transcripts([file])
    assert transcript.weights == (0, 1)


def test_a_wrong_transcript_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"task_id": "a", "messages": [{"role": "robot", "content": "q"}]}\n')
    with pytest.raises(ConfigError, match=r"mine.jsonl, line 1: messages.0.role"):
        transcripts.load_transcripts([file])
