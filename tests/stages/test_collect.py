"""Collecting as a user does: real processes, sandbox and replica; only the models are scripted."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import ChatServer, Reply, chat
from command_line import CommandLine, read_lines, strip_seconds
from scripted_policy import scripted_server

from codetool.benchmarks.tmdb_verified import load_all_rows
from codetool.config.overrides import compose_all
from codetool.errors import ConfigError
from codetool.model_types import ProcessExample
from codetool.process_data import examples, transcripts
from codetool.process_data.policy_steps import load_policy_steps
from codetool.process_data.reference_format.reference_import import read_reference
from codetool.prompts.prm_prompt import PRMPrompt

TASKS = 6
WORDS = ("stage=collect", "benchmark.split=dev", "search.n=3", "policy=openai", "policy.model=m", "logger=none")
NOWHERE = "http://127.0.0.1:9/v1"


def words(url: str, *more: str) -> tuple[str, ...]:
    return (*WORDS, f"limit={TASKS}", f"policy.base_url={url}", *more)


def collected(run: CommandLine, name: str = "tmdb_verified-exhaustive-openai-none") -> Path:
    [folder] = run.outputs.glob(f"collect/{name}-*")
    return folder


def summary(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@dataclass(frozen=True)
class Collected:
    """One run that all tests may read, none may write to."""

    outputs: Path
    folder: Path
    done: subprocess.CompletedProcess[str]
    asked: list[Any]
    """The messages of every request of the policy."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Collected:
    run = CommandLine(tmp_path_factory.mktemp("whole") / "outputs")
    with scripted_server() as server:
        done = run(*words(server.url, "export=[reference,trl_preference]"))
        assert done.returncode == 0, done.stderr
        return Collected(run.outputs, collected(run), done, [request["messages"] for request in server.requests])


@pytest.fixture
def again(run: CommandLine, whole: Collected) -> CommandLine:
    """A command line whose rollouts are there already."""
    shutil.copytree(whole.outputs, run.outputs)
    return run


def test_rollouts_become_process_data(whole: Collected) -> None:
    assert "stage=collect" in whole.done.stderr and "search=exhaustive" in whole.done.stderr
    rollouts = read_lines(whole.folder, "rollouts")
    order = [row["id"] for row in load_all_rows() if row["id"].startswith("dev")][:TASKS]
    assert [line["task_id"] for line in rollouts] == order
    found = examples.load_examples([whole.folder])
    assert [(each.task_id, each.node_id, each.step) for each in found] == [
        (line["task_id"], node["id"], node["text"]) for line in rollouts for node in line["nodes"]
    ]
    leaves = {(line["task_id"], leaf): good for line in rollouts for leaf, good in line["outcomes"].items()}
    for example in found:
        if (example.task_id, example.node_id) in leaves:
            assert example.hard is leaves[example.task_id, example.node_id] and example.latent in (1.0, 0.9)
    assert {example.label for example in found} == {True, False, None}


def test_the_summary_counts_what_is_in_the_files(whole: Collected) -> None:
    told, rollouts = summary(whole.folder), read_lines(whole.folder, "rollouts")
    nodes = [node for line in rollouts for node in line["nodes"]]
    outcomes = [good for line in rollouts for good in line["outcomes"].values()]
    assert (told["trees"], told["steps"], told["leaves"]) == (TASKS, len(nodes), len(outcomes))
    assert told["succeeded"] == sum(outcomes) and told["outcomes_by"] == {"checked": len(outcomes)}
    assert told["duplicates"] == sum(node["multiplicity"] - 1 for node in nodes) > 0
    labels = Counter(example.label for example in examples.load_examples([whole.folder]))
    assert told["labels"] == {"true": labels[True], "false": labels[False], "none": labels[None]}
    assert f"leaves: {len(outcomes)}: {len(outcomes)} by the checked answer" in whole.done.stdout
    assert (whole.folder / "summary.svg").read_text().count("<use") > 4


def test_transcripts_are_successful_paths_as_the_policy_saw_them(whole: Collected) -> None:
    found = transcripts.load_transcripts([whole.folder])
    good = {line["task_id"]: sum(line["outcomes"].values()) for line in read_lines(whole.folder, "rollouts")}
    assert [each.task_id for each in found] == [task for task, count in good.items() for _ in range(min(count, 4))]
    for transcript in found:
        assert [dict(message) for message in transcript.messages[:-1]] in whole.asked
        assert "[All Finished]" in transcript.messages[-1]["content"]


def test_policy_steps_are_what_the_policy_was_asked_and_answered(whole: Collected) -> None:
    found = load_policy_steps([whole.folder])
    nodes = {
        (line["task_id"], node["id"]): node for line in read_lines(whole.folder, "rollouts") for node in line["nodes"]
    }
    assert {(step.task_id, step.node_id) for step in found} == set(nodes)
    drawn = {record["text"] for record in read_lines(whole.folder, "candidates")}
    for step in found:
        node = nodes[step.task_id, step.node_id]
        assert [dict(message) for message in step.prompt] in whole.asked and step.completion in drawn
        assert node["text"].strip() == step.completion.strip() and step.ending == f"[Step {step.depth} Finished]"
        assert (step.group, step.depth, step.multiplicity) == (node["parent"], node["depth"], node["multiplicity"])
    estimates = {(each.task_id, each.node_id): each.soft for each in examples.load_examples([whole.folder])}
    assert {(step.task_id, step.node_id): step.soft for step in found} == estimates
    assert sorted(step.reward for step in found if step.reward is not None) == sorted(
        float(good) for line in read_lines(whole.folder, "rollouts") for good in line["outcomes"].values()
    )


def test_the_reference_export_is_read_back_as_the_process_data(whole: Collected) -> None:
    def ordered(found: Sequence[ProcessExample]) -> list[ProcessExample]:
        """Sort the examples; the reference's format does not hold what a step did."""
        plain = [replace(example, result=None) for example in found]
        return sorted(plain, key=lambda example: (example.task_id, example.node_id))

    assert len([*(whole.folder / "reference/process_data/tmdb_verified/pair_path").iterdir()]) == TASKS
    prompt = settings_of(whole.folder)
    assert ordered(read_reference(whole.folder / "reference", prompt, "soft")) == ordered(
        examples.load_examples([whole.folder])
    )


def test_the_summary_counts_the_rows_of_an_export(whole: Collected) -> None:
    pairs = read_lines(whole.folder / "exports/trl_preference", "train")
    assert {pair["task_id"] for pair in pairs} <= {line["task_id"] for line in read_lines(whole.folder, "rollouts")}
    assert all(pair["prompt"] in whole.asked for pair in pairs)
    folder = whole.folder / "exports/trl_preference"
    assert f"export=trl_preference: {len(pairs)} rows in {folder}" in whole.done.stdout
    assert summary(whole.folder)["exports"]["trl_preference"] == len(pairs) > TASKS


def settings_of(folder: Path) -> PRMPrompt:
    settings = yaml.safe_load((folder / "config.yaml").read_text())["collect"]["prompt"]
    return PRMPrompt(**{name: value for name, value in settings.items() if name != "_target_"})


def test_other_settings_relabel_the_same_rollouts_without_a_model(again: CommandLine, whole: Collected) -> None:
    changed = (
        "collect.length_term=sum", "collect.leaf_success=executed", "collect.balance=true",
        "collect.prompt.system=Judge.", "export=trl_stepwise",
    )  # fmt: skip
    done = again(*words(NOWHERE, *changed))
    assert done.returncode == 0, done.stderr
    assert f"done already: {TASKS}" in done.stderr
    before = {(each.task_id, each.node_id): each for each in examples.load_examples([whole.folder])}
    after = {(each.task_id, each.node_id): each for each in examples.load_examples([collected(again)])}
    assert after.keys() < before.keys()
    assert {each.prefix[0]["content"] for each in after.values()} == {"Judge."}
    assert any(each.soft != before[key].soft for key, each in after.items())
    labels = [each.label for each in after.values()]
    assert labels.count(True) == labels.count(False) > 0
    dropped = len(before) - len(after)
    assert summary(collected(again))["dropped_for_balance"] == dropped
    assert f"without {dropped} for balance" in done.stdout
    assert [folder.name for folder in (collected(again) / "exports").iterdir()] == ["trl_stepwise"]
    assert read_lines(collected(again) / "exports/trl_stepwise", "train")[0]["prompt"].startswith("Judge.")
    assert not (collected(again) / "reference").exists()  # it held other labels


def test_a_judge_decides_where_it_is_asked(again: CommandLine, policy: ChatServer) -> None:
    policy.handler = lambda body: chat("no" if "no idea" in body["messages"][0]["content"] else "yes")
    judging = ("judge=openai", "judge.model=j", f"judge.base_url={policy.url}", "collect.leaf_success=judge")
    done = again(*words(NOWHERE, *judging))
    assert done.returncode == 0, done.stderr
    told = summary(collected(again))
    assert told["outcomes_by"].keys() == {"judge"} and 0 < told["succeeded"] < told["leaves"]
    assert "by the judge" in done.stdout
    verdicts = read_lines(collected(again), "verdicts")
    assert len(verdicts) == len(policy.requests) == len({line["key"] for line in verdicts})


def test_tasks_that_no_leaf_solves_are_left_out_if_asked(
    again: CommandLine, policy: ChatServer, whole: Collected
) -> None:
    [hopeless, *_] = read_lines(whole.folder, "results")
    policy.handler = lambda body: chat("no" if hopeless["query"] in body["messages"][0]["content"] else "yes")
    judging = ("judge=openai", "judge.model=j", f"judge.base_url={policy.url}", "collect.leaf_success=judge")
    done = again(*words(NOWHERE, *judging, "collect.keep_unsolved=false"))
    assert done.returncode == 0, done.stderr
    before = [each.task_id for each in examples.load_examples([whole.folder])]
    after = [each.task_id for each in examples.load_examples([collected(again)])]
    assert after == [task_id for task_id in before if task_id != hopeless["task_id"]] != before
    dropped = len(before) - len(after)
    assert summary(collected(again))["dropped_as_unsolved"] == dropped
    assert f"without {dropped} of tasks that no leaf solves" in done.stdout


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_kills_lose_nothing_and_repeat_nothing(
    run: CommandLine, slow_policy: ChatServer, whole: Collected, kills: int
) -> None:
    moments = random.Random(0)
    for _ in range(kills):
        process = run.start(*words(slow_policy.url, "concurrency=1"))
        time.sleep(moments.uniform(1.0, 2.5))
        assert process.poll() is None, "the run ended before it could be killed: give it more to do"
        process.kill()
        process.communicate()
    assert run(*words(slow_policy.url)).returncode == 0
    assert strip_seconds(read_lines(collected(run), "rollouts")) == strip_seconds(read_lines(whole.folder, "rollouts"))
    for name in ("process.jsonl", "transcripts.jsonl"):
        assert (collected(run) / name).read_bytes() == (whole.folder / name).read_bytes()


def test_ctrl_c_keeps_finished_tasks(run: CommandLine, policy: ChatServer) -> None:
    process = run.start(*words(policy.url, "concurrency=1"))
    while not any(run.outputs.glob("collect/*/results.jsonl")) or not read_lines(collected(run), "results"):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "the same command continues" in errors and "Traceback" not in errors
    assert read_lines(collected(run), "results")


def test_paths_that_were_given_up_count_as_failed(run: CommandLine, policy: ChatServer) -> None:
    assert run(*words(policy.url, "search.failures=1", "search.n=8", "limit=3")).returncode == 0
    open_ends = 0
    for tree in read_lines(collected(run), "trees"):
        failed = {node["id"] for node in tree["nodes"] if node["execution"]["status"] != "ok"}
        assert not any(node["parent"] in failed for node in tree["nodes"])
        open_ends += sum(node["id"] in failed and not node["finished"] for node in tree["nodes"])
    assert open_ends > 0
    assert summary(collected(run))["left"] == 0
    given_up = [each for each in read_lines(collected(run), "process") if not each["executed"]]
    assert given_up and not any(each["soft"] for each in given_up)


def test_steps_that_another_search_left_count_neither_way(run: CommandLine, policy: ChatServer) -> None:
    done = run(*words(policy.url, "search=greedy", "limit=3"))
    assert done.returncode == 0, done.stderr
    folder = collected(run, "tmdb_verified-greedy-openai-none")
    told = summary(folder)
    assert told["left"] > 0 and f"{told['left']} steps were left by the search" in done.stdout
    assert len(examples.load_examples([folder])) == told["steps"] - told["left"]


def test_tasks_that_failed_for_our_own_reasons_are_told(run: CommandLine, policy: ChatServer) -> None:
    policy.handler = lambda body: Reply(status=400, body={"error": {"message": "out of order"}})
    done = run(*words(policy.url, "limit=2"))
    assert done.returncode == 1
    assert "2 tasks failed internally" in done.stdout and "out of order" in done.stdout
    assert summary(collected(run))["trees"] == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("collect.leaf_success=judge",), "collect.leaf_success=judge wants a judge: judge=openai"),
        (("collect.length_term=median", "collect.alpha=0", "export=csv"), "export='csv'"),
        (("judge=openai", "judge.base_url=http://127.0.0.1:9/v1"), "judge.model is not set"),
        (("judge=openai", "judge.model=m", "judge.base_url=http://127.0.0.1:9/v1"), "127.0.0.1:9/v1 cannot be reached"),
        (("judge=openai", "judge.model=m", "judge.prompt='{{ query'"), "judge.prompt"),
    ],
)
def test_a_wrong_option_is_one_message_before_any_rollout(
    run: CommandLine, policy: ChatServer, more: tuple[str, ...], said: str
) -> None:
    done = run(*words(policy.url, *more))
    assert done.returncode in (2, 3) and said in done.stderr and "Traceback" not in done.stderr
    assert not policy.requests and not [*run.outputs.glob("collect/*/*.jsonl")]


def test_settings_of_the_data_belong_to_this_stage(run: CommandLine) -> None:
    done = run("collect.length_term=sum", "export=reference")
    assert done.returncode == 2 and "collect.length_term=sum: only stage=collect and improve read it" in done.stderr


@pytest.mark.parametrize(
    ("chosen", "search", "prm"),
    [
        (["stage=collect", "search.n=3"], "Exhaustive", "NoPRM"),
        (["search=beam", "stage=collect"], "Beam", "NoPRM"),
        (["stage=collect", "prm=random"], "Exhaustive", "RandomPRM"),
        (["stage=collect", "experiment=baseline_dfsdt"], "DepthFirst", "NoPRM"),
        (["stage=evaluate"], "Beam", "GenerativePRM"),
    ],
)
def test_all_that_may_follow_a_step_is_rolled_out_unless_the_user_says_otherwise(
    chosen: list[str], search: str, prm: str
) -> None:
    [config] = compose_all(chosen)
    assert [config[group]["_target_"].split(".")[-1] for group in ("search", "prm")] == [search, prm]


def test_a_preset_that_chooses_the_stage_gets_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    preset = "# @package _global_\ndefaults:\n  - override /stage: collect\ncollect:\n  horizon: 7\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(preset)
    [config] = compose_all([f"hydra.searchpath=[{tmp_path}]", "experiment=mine", "collect.balance=true"])
    assert (config.stage, config.collect.horizon, config.collect.balance) == ("collect", 7, True)
    assert config.search["_target_"].endswith("Exhaustive") and config.prm["_target_"].endswith("NoPRM")


def test_a_preset_that_sets_the_stage_as_a_value_is_told_how_to_choose_it(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nstage: collect\n")
    with pytest.raises(ConfigError, match=r"leaves the settings of stage=evaluate. Write `- override /stage: collect`"):
        compose_all([f"hydra.searchpath=[{tmp_path}]", "experiment=mine"])


def test_a_preset_may_not_set_what_another_stage_reads(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ntrain:\n  epochs: 2\n")
    with pytest.raises(ConfigError, match="train: a preset sets it, and only stage=improve and train read it"):
        compose_all([f"hydra.searchpath=[{tmp_path}]", "experiment=mine"])
