"""Files that users name may be devices, pipes or without end: each is one clear error, at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codetool.benchmarks.stabletoolbench import StableToolBench
from codetool.benchmarks.tmdb_verified import TMDBVerified
from codetool.errors import CodeToolError
from codetool.judges.tooleval_answers import load_converted_file
from codetool.tools.recordings import Recordings


def load_train_tasks(file: Path) -> None:
    TMDBVerified(split="train", train=file, max_observation_chars=1500).tasks()


def load_queries(file: Path) -> None:
    StableToolBench(
        group="all", subset="solvable", queries=file, folder=None, mirror="", max_observation_chars=1500
    ).tasks()


READERS: list[Callable[[Path], object]] = [
    load_train_tasks,
    load_queries,
    load_converted_file,
    lambda file: Recordings.load([file]),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["device", "pipe", "sparse"])
def test_what_is_no_ordinary_file_is_refused_by_name(read: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    file = Path("/dev/zero")
    if kind != "device":
        file = tmp_path / "file.jsonl"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "sparse":
        with file.open("wb") as stream:
            stream.truncate(2**40)
    with pytest.raises(CodeToolError, match=rf"{file.name}.*(regular file|larger than|longer than)"):
        read(file)


@pytest.mark.parametrize("read", READERS[:3])
def test_deep_nesting_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(CodeToolError, match=r"file\.json.*nested too deeply"):
        read(file)
