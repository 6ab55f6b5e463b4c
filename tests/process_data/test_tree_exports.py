"""Exports of rollout trees: each row against the documented fields of the trainer that reads it.

`experiments/exports/read_back.py` reads them by the trainers' own libraries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree_world import JUDGE, POLICY, TASK, rollout, settings

from codetool.config.export_formats import EXPORT_FORMATS, load_format, parse_formats
from codetool.errors import ConfigError
from codetool.process_data.examples import make_process_examples
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree
from codetool.process_data.labels import label_steps
from codetool.process_data.rollouts import Rollout
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.types import Answer, Step, Task

SETTINGS = ExportSettings(
    benchmark="films",
    split="train",
    model="m",
    policy_prompt=POLICY,
    prm_prompt=JUDGE,
    estimator="soft",
    max_transcripts=4,
)
ANSWERED = replace(TASK, answer=Answer("name", "Ann"))
TREE = rollout(
    {"1-1": True, "1-2": False, "2-1": False, "2-2-1": True},
    times={"1": 2, "1-2": 3, "2-1": 3},
    failed=("1-2", "2-1", "2-2"),
    task=ANSWERED,
)
UNSOLVED = rollout({"1": False, "2": False}, failed=("2",), task=replace(TASK, id="t2"))
CHAIN = rollout({"1-1": True}, task=replace(TASK, id="t3"))
JSONL = [name for name in EXPORT_FORMATS["collect"] if name not in ("reference", "llamafactory_preference")]


def label(tree: Rollout, index: int = 0, **changes: Any) -> LabelledTree:
    found = tuple(make_process_examples(tree.task, label_steps(tree, settings()), JUDGE))
    return LabelledTree(index, tree, found, found, **changes)


def write(folder: Path, name: str, *trees: Rollout | LabelledTree, **changes: Any) -> list[Any]:
    """The rows of `train.jsonl` or what stands for it, after their number was compared with the one returned."""
    labelled = [label(tree, i) if isinstance(tree, Rollout) else tree for i, tree in enumerate(trees)]
    count = load_format("collect", name)(folder, iter(labelled), replace(SETTINGS, **changes))
    rows = read(folder / ("traces.jsonl" if name == "verifiers" else "train.jsonl"))
    assert len(rows) == count
    return rows


def read(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().decode().split("\n")[:-1]]


def said(text: str, k: int) -> dict[str, str]:
    return {"role": "assistant", "content": f"##Step: do {text}\n[Step {k} Finished]"}


def asked(*steps: str) -> list[dict[str, str]]:
    """What the policy reads after these steps of `TREE`."""
    messages = [{"role": "user", "content": "Answer Who?"}]
    for k, step in enumerate(steps, start=1):
        failed = step in ("1-2", "2-1", "2-2")
        seen = "exception: " if failed else f"ok: saw {step}"
        messages += [said(step, k), {"role": "user", "content": f"Step {k} {seen}"}]
    return messages


def test_pairs_are_siblings_of_which_one_succeeds_more_often(tmp_path: Path) -> None:
    rows = write(tmp_path, "trl_preference", TREE)
    # 1 and 2 ran both, and a quarter of the paths sampled below each succeeds: nothing tells them apart
    assert [(row["chosen_id"], row["rejected_id"], row["weight"]) for row in rows] == [
        ("1-1", "1-2", 3),
        ("2-2", "2-1", 3),
    ]
    last = rows[-1]
    assert last["prompt"] == asked("2") and last["chosen"] == [said("2-2", 2)] and last["rejected"] == [said("2-1", 2)]
    assert (last["chosen_soft"], last["rejected_soft"], last["chosen_hard"], last["task_id"]) == (1.0, 0.0, True, "t1")


def test_a_sibling_that_ran_is_chosen_though_neither_succeeds(tmp_path: Path) -> None:
    [row] = write(tmp_path, "trl_preference", UNSOLVED)
    assert (row["chosen_id"], row["rejected_id"]) == ("1", "2")
    assert (row["chosen_executed"], row["rejected_executed"]) == (True, False)


def test_llamafactory_gets_the_same_pairs_as_a_ranking_dataset(tmp_path: Path) -> None:
    assert load_format("collect", "llamafactory_preference")(tmp_path, [label(TREE), label(UNSOLVED)], SETTINGS) == 3
    info = json.loads((tmp_path / "dataset_info.json").read_text())["films_preference"]
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "system": "system"}
    assert info == {"file_name": "preference.json", "formatting": "sharegpt", "ranking": True, "columns": columns}
    rows = json.loads((tmp_path / info["file_name"]).read_text())
    assert len(rows) == 3
    assert all([turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human"] for row in rows[:2])
    assert rows[1]["chosen"] == {"from": "gpt", "value": said("2-2", 2)["content"]} and rows[1]["system"] == ""


def test_completions_are_the_steps_that_ran_on_successful_paths(tmp_path: Path) -> None:
    rows = write(tmp_path, "trl_prompt_completion", TREE, UNSOLVED)
    assert [(row["node_id"], row["multiplicity"]) for row in rows] == [("1", 2), ("1-1", 1), ("2", 1), ("2-2-1", 1)]
    assert rows[-1]["prompt"] == asked("2", "2-2") and rows[-1]["completion"] == [said("2-2-1", 3)]


def test_a_step_that_successful_paths_share_has_one_row(tmp_path: Path) -> None:
    shared = rollout({"1-1": True, "1-2": True})
    rows = write(tmp_path, "trl_prompt_completion", shared)
    assert [row["node_id"] for row in rows] == ["1", "1-1", "1-2"]
    rows = write(tmp_path, "trl_prompt_completion", shared, max_transcripts=1)
    assert [row["node_id"] for row in rows] == ["1", "1-1"]


def test_labels_of_a_path_tell_whether_success_is_below_each_step(tmp_path: Path) -> None:
    rows = write(tmp_path, "trl_stepwise", TREE)
    assert [(row["leaf_id"], row["labels"], row["weight"]) for row in rows] == [
        ("1-1", [True, True], 2), ("1-2", [True, False], 6), ("2-1", [True, False], 3), ("2-2-1", [True] * 3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["compact", "stepwise"])
def test_completions_ended_by_line_breaks_are_what_a_prm_reads(name: str, tmp_path: Path) -> None:
    texts = yaml.safe_load((Path(__file__).parents[2] / f"conf/prm_prompt/{name}.yaml").read_text())
    prompt = PRMPrompt(**{key: text for key, text in texts.items() if key != "_target_"})
    found = tuple(make_process_examples(ANSWERED, label_steps(TREE, settings()), prompt))
    examples = {example.node_id: example for example in found}
    for row in write(tmp_path, "trl_stepwise", LabelledTree(0, TREE, found, found), prm_prompt=prompt):
        trained_on = row["prompt"] + "".join(f"{completion}\n" for completion in row["completions"])
        example = examples[row["leaf_id"]]
        messages = prompt.with_candidate(example.prefix, len(row["labels"]), example.step)
        assert trained_on.rstrip("\n") == "\n\n".join(message["content"] for message in messages).rstrip("\n")


def test_a_leaf_without_an_outcome_has_neither_path_nor_rollout(tmp_path: Path) -> None:
    abandoned = rollout({"1-1": True}, "1-2", "2")
    assert [row["leaf_id"] for row in write(tmp_path, "trl_stepwise", abandoned)] == ["1-1"]
    assert [row["id"] for row in write(tmp_path, "verifiers", abandoned)] == ["t1/1-1"]
    [row] = write(tmp_path, "verl", abandoned)
    assert row["extra_info"]["sampled_paths"] == 1


def test_a_prompt_that_shows_earlier_steps_otherwise_cannot_be_cut(tmp_path: Path) -> None:
    class Reversed:
        def with_candidate(self, prefix: Any, k: int, text: str) -> list[dict[str, str]]:
            return [{"role": "user", "content": text + prefix[-1]["content"]}]

    with pytest.raises(ConfigError, match="prm_prompt@collect.prompt=compact"):
        write(tmp_path, "trl_stepwise", TREE, prm_prompt=Reversed())


def test_a_task_of_verl_has_its_answer_and_what_the_tree_tells(tmp_path: Path) -> None:
    solved, unsolved = write(tmp_path, "verl", TREE, UNSOLVED)
    assert solved == {
        "data_source": "films",
        "prompt": asked(),
        "ability": "tool_use",
        "reward_model": {"style": "rule", "ground_truth": '{"type": "name", "value": "Ann"}'},
        "extra_info": {
            "split": "train", "index": 0, "task_id": "t1", "query": "Who?", "sampled_paths": 12, "success_rate": 0.25,
        },
    }  # fmt: skip
    assert unsolved["reward_model"] == {"style": "model", "ground_truth": ""}
    assert unsolved["extra_info"]["success_rate"] == 0.0


def test_a_rollout_of_verifiers_is_a_chain_of_messages_with_a_reward(tmp_path: Path) -> None:
    episodes = write(tmp_path, "verifiers", TREE)
    assert [episode["id"] for episode in episodes] == ["t1/1-1", "t1/1-2", "t1/2-1", "t1/2-2-1"]
    assert {episode["group"]["id"] for episode in episodes} == {"t1"}
    [trace] = episodes[2]["traces"]
    assert trace["version"] == 1 and trace["task"] == episodes[2]["task"]
    assert trace["task"]["data"] == {
        "idx": 0,
        "id": "t1",
        "prompt": asked(),
        "answer": '{"type": "name", "value": "Ann"}',
    }
    assert [node["parent"] for node in trace["nodes"]] == [None, 0, 1, 2]
    assert [node["sampled"] for node in trace["nodes"]] == [False, True, False, True]
    assert [node["message"] for node in trace["nodes"]] == [*asked("2"), said("2-1", 2)]
    assert trace["rewards"] == {"success": {"score": 0.0, "weight": 1.0}}
    assert trace["metrics"] == {"steps": 2.0, "failed_steps": 1.0} and trace["info"]["samples"] == 3


def test_the_flat_rollouts_of_verifiers_are_the_same(tmp_path: Path) -> None:
    episodes = write(tmp_path, "verifiers", TREE)
    results = read(tmp_path / "results.jsonl")
    needed = {"example_id", "prompt", "completion", "reward", "timing", "is_completed", "is_truncated", "metrics"}
    assert all(needed | {"answer", "info", "task"} <= row.keys() for row in results)
    assert [row["reward"] for row in results] == [e["traces"][0]["rewards"]["success"]["score"] for e in episodes]
    assert [[*row["prompt"], *row["completion"]] for row in results] == [
        [node["message"] for node in episode["traces"][0]["nodes"]] for episode in episodes
    ]


@pytest.mark.parametrize("name", JSONL)
def test_rows_of_a_file_have_the_same_fields_and_types(name: str, tmp_path: Path) -> None:
    def describe(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: describe(item) for key, item in value.items()}
        return sorted({str(describe(item)) for item in value}) if isinstance(value, list) else type(value).__name__

    numbers = replace(UNSOLVED, task=replace(UNSOLVED.task, answer=Answer("list", [1, "b", [2]])))
    rows = write(tmp_path, name, TREE, numbers, CHAIN)
    shapes = {json.dumps(describe(row), sort_keys=True) for row in rows}
    if name == "verifiers":  # the first message of a chain has no parent, and a chain may have one message only
        shapes = {shape.replace("'parent': 'NoneType'", "'parent': 'int'") for shape in shapes}
    assert len(rows) > 1 and len(shapes) == 1


ODD = 'é 漢 🎬 "quoted" \\ back\u2028slash\u0085 \r\n\t \x00 <|im_end|> \ud800 half'


@pytest.mark.parametrize("name", [*JSONL, "llamafactory_preference"])
def test_odd_characters_survive_and_half_a_surrogate_pair_becomes_a_question_mark(name: str, tmp_path: Path) -> None:
    tree = rollout({"1": True, "2": False}, task=Task("t/ö", ODD, ()))
    for node in tree.nodes[1:]:
        object.__setattr__(node, "step", Step(f"##Step: {ODD} {node.id}", "x", True))
    assert load_format("collect", name)(tmp_path, [label(tree)], SETTINGS) >= 1
    for file in tmp_path.glob("*.json*"):
        lines = file.read_bytes().decode("utf-8").split("\n")  # not UTF-8 if half a pair were left
        content = json.loads(file.read_text()) if file.suffix == ".json" else [json.loads(x) for x in lines if x]
        texts = list(find_texts(content))
        if file.name != "dataset_info.json":
            assert any(ODD.replace("\ud800", "?") in text for text in texts)


def find_texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from find_texts(item)


@pytest.mark.parametrize("name", ["trl_preference", "trl_stepwise", "verl", "verifiers"])
def test_tasks_that_are_left_out_have_no_row(name: str, tmp_path: Path) -> None:
    assert write(tmp_path, name, label(UNSOLVED, left_out=True)) == []


def test_a_tree_without_siblings_gives_an_empty_file(tmp_path: Path) -> None:
    assert write(tmp_path, "trl_preference", CHAIN) == []


@pytest.mark.parametrize(
    ("given", "formats"),
    [(None, ()), ("verl", ("verl",)), (["verl", "reference", "verl"], ("verl", "reference")), ([], ())],
)
def test_one_format_or_several_are_named(given: Any, formats: tuple[str, ...]) -> None:
    assert parse_formats("collect", given) == formats


@pytest.mark.parametrize(
    ("stage", "name", "said"),
    [
        ("collect", "csv", "stage=collect writes reference, llamafactory_preference, trl_preference"),
        ("collect", "inspect", "inspect goes with stage=evaluate; stage=collect writes reference"),
        ("evaluate", "verl", "verl goes with stage=collect; stage=evaluate writes reference, inspect"),
        ("evaluate", "json.dumps", "stage=evaluate writes reference, inspect"),
        ("collect", "nowhere.write_export", "nowhere.write_export cannot be had as nowhere.write_export"),
        ("collect", "json.dumps", r"json.dumps is no function of \(folder, trees, settings\)"),
    ],
)
def test_a_format_that_a_stage_cannot_write_is_refused(stage: str, name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_formats(stage, [name])


def test_every_format_is_a_function() -> None:
    assert all(callable(load_format(stage, name)) for stage, names in EXPORT_FORMATS.items() for name in names)
