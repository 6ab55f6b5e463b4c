"""Choose the folder for a run's summary files: the run folder, unless that holds a result over more tasks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codetool.runs.bounded_input import parse_json, read_text

METRICS = "metrics.json"
JOURNALS = (
    "results.jsonl", "trees.jsonl", "candidates.jsonl", "votes.jsonl", "verdicts.jsonl", "servers.jsonl", "log.txt",
    "provenance.json", "tools.jsonl", "faults.jsonl",
)  # fmt: skip
"""Files that every run of a folder appends to, whatever its task limit."""


@dataclass(frozen=True)
class ResultFolder:
    """The folder for the files that a run derives from its journals."""

    folder: Path
    """The run folder, or a temporary folder with links to its journals."""
    kept: str | None = None
    """Message that the run folder keeps the files of a larger result; None if `folder` is the run folder."""


def find_larger_result(path: Path, tasks: int) -> int | None:
    """Return the number of tasks of the result in a run folder if it is larger than `tasks`, else None."""
    try:
        asked = parse_json(read_text(path / METRICS))["tasks"]["asked"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return asked if isinstance(asked, int) and asked > tasks else None


@contextmanager
def open_result_folder(path: Path, larger: int | None) -> Iterator[ResultFolder]:
    """Yield the run folder, or a temporary folder if the run folder holds a `larger` result."""
    if larger is None:
        yield ResultFolder(path)
        return
    kept = f"the files in {path} are of the larger result, {larger} tasks, and are left as they are"
    with tempfile.TemporaryDirectory(prefix="codetool-smaller-limit-") as temporary:
        folder = Path(temporary) / path.name
        folder.mkdir()
        for name in JOURNALS:
            (folder / name).symlink_to((path / name).absolute())
        yield ResultFolder(folder, kept)
