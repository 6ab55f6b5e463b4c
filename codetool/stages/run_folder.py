"""The folder of one result: its name, its lock, its journals, and what an earlier run has already finished.

A task is done when its line stands in `results.jsonl`; that line is written last. Lines of tasks that failed for our
own reasons are dropped when the folder is opened again, so that the same command tries them once more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from codetool import journal
from codetool.errors import ConfigError
from codetool.evaluation.taxonomy import is_ours
from codetool.journal import Journal


@dataclass(frozen=True)
class RunFolder:
    """An open run folder. `done` holds the result lines of the tasks that need not run again, by task id.

    `known_candidates` are those of tasks that an earlier run began and did not finish.
    """

    path: Path
    done: dict[str, dict[str, Any]]
    known_candidates: tuple[dict[str, Any], ...]
    results: Journal
    trees: Journal
    candidates: Journal
    _writing: Lock = field(default_factory=Lock, init=False, repr=False)

    def commit(self, result: Mapping[str, Any], tree: Mapping[str, Any] | None) -> None:
        """Record a finished task durably: its candidates and tree first, the line that makes it done last.

        Any thread may call this; one task is written at a time, so that both files have the same order.
        """
        with self._writing:
            self.candidates.sync()
            if tree is not None:
                self.trees.append(tree)
                self.trees.sync()
            self.results.append(result)
            self.results.sync()
            self.done[str(result["task_id"])] = dict(result)


def choose(base: Path, fresh: bool) -> Path:
    """The folder to use: the newest of `base`, `base-2`, `base-3`, …; with `fresh` the next one that is not there."""
    number = 1
    while _numbered(base, number + 1).exists():
        number += 1
    if fresh and base.exists():
        number += 1
    return _numbered(base, number)


@contextmanager
def open_folder(path: Path, *, wait: bool = False) -> Iterator[RunFolder]:
    """The run folder, created if missing. If another run is writing to it, `wait` for its end or raise ConfigError."""
    with ExitStack() as stack:
        lock(path, stack, wait)
        stack.callback(_leave_no_empty_folder, path)
        results, trees, candidates = (path / f"{name}.jsonl" for name in ("results", "trees", "candidates"))
        journal.keep(results, _is_done)
        done = done_in(path)
        journal.keep(trees, lambda line: line.get("task_id") in done)
        known = tuple(line for line in journal.read(candidates) if line["task_id"] not in done)
        opened = [stack.enter_context(Journal(file)) for file in (results, trees, candidates)]
        yield RunFolder(path, done, known, *opened)


def done_in(path: Path) -> dict[str, dict[str, Any]]:
    """The result lines of a folder's finished tasks by task id; nothing for a folder that is not there."""
    return {line["task_id"]: line for line in journal.read(path / "results.jsonl") if _is_done(line)}


def _is_done(line: Mapping[str, Any]) -> bool:
    return "task_id" in line and "error" in line and not is_ours(line)


def _leave_no_empty_folder(path: Path) -> None:
    """Remove a folder in which nothing has been recorded: its run could not start."""
    if not any((path / f"{name}.jsonl").stat().st_size for name in ("results", "trees", "candidates")):
        shutil.rmtree(path)


def lock(path: Path, stack: ExitStack, wait: bool) -> None:
    """Make the folder this run's until the stack is closed; created if missing. Raises ConfigError unless it waits."""
    path.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((path / ".lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise ConfigError(
            f"{path}: another run is writing this result. Wait for it, or start a folder of its own with fresh=true."
        ) from error
    if not os.fstat(file.fileno()).st_nlink:  # whom we waited for has removed the folder
        lock(path, stack, wait)


def _numbered(base: Path, number: int) -> Path:
    return base if number == 1 else base.with_name(f"{base.name}-{number}")
