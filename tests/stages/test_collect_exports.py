"""Exports in a run folder: complete or not there, and never those of an earlier command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tree_world import JUDGE, POLICY, rollout, settings

from codetool.process_data.examples import make_process_examples
from codetool.process_data.exports.tree_export import LabelledTree
from codetool.process_data.labels import label_steps
from codetool.stages.collect.exports import write_exports

TREE = rollout({"1-1": True, "1-2": False, "2": False}, failed=("2",))


def configure(*formats: str) -> Any:
    return SimpleNamespace(
        export=formats,
        settings={"benchmark": {"split": "train"}, "policy": {"model": "m"}},
        policy=SimpleNamespace(prompt=POLICY),
        collect=settings(),
    )


def make_trees() -> Iterator[LabelledTree]:
    found = tuple(make_process_examples(TREE.task, label_steps(TREE, settings()), JUDGE))
    yield LabelledTree(0, TREE, found, found)


def stop_midway() -> Iterator[LabelledTree]:
    yield from make_trees()
    raise KeyboardInterrupt


def list_files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_the_exports_of_a_command_replace_those_of_the_one_before(tmp_path: Path) -> None:
    rows = write_exports(configure("reference", "trl_preference", "verl"), "films", tmp_path, make_trees)
    assert rows == {"reference": 4, "trl_preference": 2, "verl": 1}
    assert (tmp_path / "reference/rm_train_data/dataset_info.json").exists()
    assert write_exports(configure("verifiers"), "films", tmp_path, make_trees) == {"verifiers": 3}
    assert list_files(tmp_path) == ["exports/verifiers/results.jsonl", "exports/verifiers/traces.jsonl"]
    assert write_exports(configure(), "films", tmp_path, make_trees) == {}
    assert list_files(tmp_path) == []


@pytest.mark.parametrize("name", ["reference", "verl", "llamafactory_preference"])
def test_an_export_that_is_stopped_leaves_no_part_in_its_place(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_exports(configure("trl_preference", name), "films", tmp_path, _stop_second())
    assert (tmp_path / "exports/trl_preference/train.jsonl").exists()
    assert not (tmp_path / "exports" / name).exists() and not (tmp_path / name).exists()
    write_exports(configure(name), "films", tmp_path, make_trees)
    assert not any(path.name.endswith(".new") for path in tmp_path.rglob("*"))
    assert list_files(tmp_path)


def _stop_second() -> Any:
    sources = iter((make_trees, stop_midway))
    return lambda: next(sources)()


def test_what_an_export_knows_of_the_run_is_in_its_rows(tmp_path: Path) -> None:
    write_exports(configure("verl", "verifiers"), "films", tmp_path, make_trees)
    row = json.loads((tmp_path / "exports/verl/train.jsonl").read_text())
    assert (row["data_source"], row["extra_info"]["split"]) == ("films", "train")
    episode = json.loads((tmp_path / "exports/verifiers/traces.jsonl").read_text().splitlines()[0])
    assert episode["env"] == {"id": "films"} and episode["traces"][0]["agent"]["config"] == {"model": "m"}
