"""Where the concluding files of a run belong: in its folder, unless that holds the result of more tasks."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

METRICS = "metrics.json"
JOURNALS = (
    "results.jsonl", "trees.jsonl", "candidates.jsonl", "votes.jsonl", "verdicts.jsonl", "servers.jsonl", "log.txt",
    "provenance.json", "tools.jsonl",
)  # fmt: skip
"""What a run adds to, whatever its limit."""


@dataclass(frozen=True)
class ResultFolder:
    """Where a run writes what it concludes from its journals."""

    folder: Path
    """The run folder, or a temporary one with links to its journals."""
    kept: str | None = None
    """What to tell of a larger result whose files the run folder keeps; None where `folder` is the run folder."""


def find_larger_result(path: Path, tasks: int) -> int | None:
    """How many tasks the result in a run folder is of, if that is more than `tasks`, else None."""
    try:
        asked = json.loads((path / METRICS).read_text(encoding="utf-8"))["tasks"]["asked"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return asked if isinstance(asked, int) and asked > tasks else None


@contextmanager
def open_result_folder(path: Path, larger: int | None) -> Iterator[ResultFolder]:
    """The run folder itself, or with a `larger` result in it a temporary folder, removed at the end."""
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
