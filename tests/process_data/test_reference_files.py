"""The reference implementation's files: written, read, and what a foreign one must hold."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tree_world import JUDGE, POLICY, TASK, rollout, settings

from codetool.errors import ConfigError, MissingError
from codetool.model_types import ProcessExample
from codetool.process_data import examples
from codetool.process_data.labels import label_steps
from codetool.process_data.reference_format.reference_export import ReferenceExport
from codetool.process_data.reference_format.reference_import import read_reference

TREE = rollout(
    {"1-1": True, "1-2": False, "2-1": False, "2-10-1": True}, times={"1": 2, "2-1": 3}, failed=("1-2", "2-1")
)
FOUND = examples.make_process_examples(TASK, label_steps(TREE, settings()), JUDGE)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export = ReferenceExport(tmp_path / "reference", "films", POLICY, JUDGE, "soft")
    export.add(TREE, FOUND, FOUND)
    export.finish()
    return tmp_path / "reference"


def content(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_paths_are_named_from_a_root_and_hold_all_their_steps(exported: Path) -> None:
    file = content(exported, "process_data/films/dfs_data/t1_path.json")
    assert file.keys() == {"q_id", "query", "instruction", "infer_path", "exec_res"}
    names = [path["path_name"] for path in file["infer_path"]]
    assert names == ["1-1", "1-1-1", "1-1-2", "1-2", "1-2-1", "1-2-10", "1-2-10-1"]  # depth first
    path = file["infer_path"][1]
    assert path == {
        "path_name": "1-1-1",
        "content": "##Step: do 1\n[Step 1 Finished]\n##Step: do 1-1\n[Step 2 Finished]\n",
        "is_leaf": True,
    }
    assert file["exec_res"]["1-1-1"] == {"code": "print('1')\nprint('1-1')", "res": "saw 1-1", "status": 0}
    assert file["exec_res"]["1-1-2"]["status"] == 1 and "NameError" in file["exec_res"]["1-1-2"]["res"]


def test_scored_paths_have_estimates_and_pairs_differ(exported: Path) -> None:
    scored = content(exported, "process_data/films/path_scored/t1_scored.json")["infer_path"]
    assert {"current_exec", "soft_estimate", "hard_estimate", "latent_reward"} < scored[0].keys()
    assert (scored[0]["soft_estimate"], scored[0]["hard_estimate"], scored[0]["current_exec"]) == (0.5, 1, True)
    paired = content(exported, "process_data/films/pair_path/t1_pair.json")
    names = [[path["path_name"] for path in pair] for pair in paired["pair_path"]]
    assert names == [["1-1", "1-2"], ["1-1-1", "1-1-2"], ["1-2-1", "1-2-10"]]
    assert paired["weights"] == [2, 1, 3]
    assert paired["pair_path"][0][0] == scored[0]


def test_training_records_hold_what_a_prm_is_asked(exported: Path) -> None:
    info = content(exported, "rm_train_data/dataset_info.json")
    assert info["films"]["columns"] == {"messages": "conversations", "system": "system"}
    records = content(exported, f"rm_train_data/{info['films']['file_name']}")
    assert len(records) == sum(example.label is not None for example in FOUND)
    one = next(example for example in FOUND if example.node_id == "1-2")
    asked = JUDGE.with_candidate(one.prefix, 2, one.step)
    assert {
        "system": asked[0]["content"],
        "conversations": [{"from": "human", "value": asked[1]["content"]}, {"from": "gpt", "value": "no"}],
    } in records


def test_what_was_exported_is_read_back_as_it_was(exported: Path) -> None:
    def key(example: ProcessExample) -> tuple[int, str]:
        return (example.node_id.count("-"), example.node_id)

    written = [replace(example, result=None) for example in FOUND]  # which the reference's files do not hold
    assert sorted(read_reference(exported, JUDGE, "soft"), key=key) == sorted(written, key=key)


def test_training_records_are_read_back_as_the_same_messages(exported: Path) -> None:
    asked = JUDGE.with_candidate(FOUND[0].prefix, 1, FOUND[0].step)
    read = read_reference(exported / "rm_train_data", replace_step(), "soft")
    assert len(read) == 6
    assert replace_step().with_candidate(read[0].prefix, 1, read[0].step) == asked
    assert read[0].label is True and read[0].soft == 1.0


def replace_step() -> Any:
    """The prompt whose step is the text alone, as the product's is."""
    return replace(JUDGE, step="{{ text }}\n")


FOREIGN = {
    "q_id": 7,
    "query": "Who?",
    "instruction": "Tools: GET /films",
    "infer_path": [
        {"path_name": "1-1", "content": "##Step 1: a[Step 1 Finished]\n", "is_leaf": False, "current_exec": True,
         "soft_estimate": 0.5, "hard_estimate": 1, "latent_reward": 0.9},
        {"path_name": "1-1-1", "content": "##Step 1: a[Step 1 Finished]\n##Step 2: b[All Finished][Step 2 Finished]\n",
         "is_leaf": True, "current_exec": True, "soft_estimate": 1.0, "hard_estimate": 1, "latent_reward": 1.0},
        {"path_name": "1-1-2", "content": "##Step 1: a[Step 1 Finished]\n", "is_leaf": True, "current_exec": True,
         "soft_estimate": 0.0, "hard_estimate": 0, "latent_reward": 0.9},
    ],
    "exec_res": {
        "1-1": {"code": "a", "res": "42", "status": 0},
        "1-1-1": {"code": "a\nb", "res": "Ann", "status": 0},
        "1-1-2": {"code": "a", "res": "I would rather not.", "status": 0},
    },
}  # fmt: skip


def test_a_foreign_file_is_read_with_our_prompt_and_its_instruction(tmp_path: Path) -> None:
    (tmp_path / "7_scored.json").write_text(json.dumps(FOREIGN))
    first, good, bad = read_reference(tmp_path, JUDGE, "soft")
    assert (first.task_id, first.node_id, first.group, first.label) == ("7", "1", "0", None)
    assert first.step == "##Step 1: a"
    assert (good.node_id, good.group, good.step, good.label) == ("1-1", "1", "##Step 2: b[All Finished]", True)
    assert (bad.step, bad.label) == ("I would rather not.", False)  # a step without code stands in its result
    text = good.prefix[1]["content"]
    assert text.startswith("Tools: GET /films\n") and "Question: Who?" in text and "Saw (ok): 42" in text


@pytest.mark.parametrize("broken", [{}, {"infer_path": 3}, FOREIGN | {"exec_res": {}}])
def test_a_file_of_another_format_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    (tmp_path / "7_scored.json").write_text(json.dumps(broken))
    with pytest.raises(ConfigError, match="7_scored.json is no file of the reference's"):
        read_reference(tmp_path, JUDGE, "soft")


def test_a_folder_without_such_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="holds neither"):
        read_reference(tmp_path, JUDGE, "soft")
    with pytest.raises(MissingError, match="is not there"):
        read_reference(tmp_path / "nowhere", JUDGE, "soft")


def test_the_command_writes_a_file_that_can_be_read(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "process.jsonl"
    command = [sys.executable, "-m", "codetool.process_data.reference_format.reference_import"]
    done = subprocess.run([*command, str(exported), "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "7 examples of 1 tasks" in done.stdout
    assert len(examples.load_examples([out])) == 7
    wrong = subprocess.run([*command, str(tmp_path / "no"), "--out", str(out)], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and "Traceback" not in wrong.stderr
