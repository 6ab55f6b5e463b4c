"""The folder of one result: select its name, lock it, open its journals, and find the tasks finished by earlier runs.

A task is finished when `results.jsonl` has its line, which is written last, and `trees.jsonl` its tree. Lines of tasks
that failed internally are removed when the folder is opened again for these tasks, so that the same command runs them
once more. Damaged lines are set aside, and what they recorded is done again.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO, Any

from codetool.errors import ConfigError, WriteError
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.result_files import (
    RESULTS,
    TREES,
    TreeFile,
    read_finished_results,
    warn_about_duplicates,
)
from codetool.evaluation.result_records import RESULT_SHAPE, TREE_SHAPE
from codetool.judges.votes import VERDICTS, VOTE_SHAPE, VOTES_FILE
from codetool.models.vllm_servers import USAGE_FILE
from codetool.policies.recorded import CANDIDATE_SHAPE, drop_incomplete_draws
from codetool.runs import damaged_lines, journal
from codetool.runs.file_lock import lock_exclusively
from codetool.runs.journal import Journal
from codetool.runs.record_shape import Shape
from codetool.runs.write_errors import describe_write_error, explain_write_errors
from codetool.stages.fault_journal import FAULTS_FILE
from codetool.stages.spent_journal import SPENT_FILE

CANDIDATES, TOOL_COUNTS = "candidates.jsonl", "tools.jsonl"
TOOL_COUNTS_SHAPE: Shape = {
    "task_id": str, "failed": bool, "calls": int, "provenance": {str: int}, "failures": {str: int}, "cache": {str: int},
}  # fmt: skip
SHAPES: dict[str, Shape] = {
    RESULTS: RESULT_SHAPE, TREES: TREE_SHAPE, CANDIDATES: CANDIDATE_SHAPE, TOOL_COUNTS: TOOL_COUNTS_SHAPE,
}  # fmt: skip
"""Shape of the records of each journal."""
FURTHER_SHAPES: dict[str, Shape] = {
    VOTES_FILE: VOTE_SHAPE, VERDICTS: VOTE_SHAPE, USAGE_FILE: {"server": str}, FAULTS_FILE: {str: dict},
    SPENT_FILE: {str: dict},
}  # fmt: skip
"""Shape of the records of journals that some runs have: votes on answers and on leaves, usage and faults of servers."""
LOCK_FILE = ".lock"
SHARDS_FOLDER = "shards"
"""Folder of a run folder with those of its shards."""
LOG_PATTERNS = ("log.txt", "*.log")
"""Glob patterns of the logs of a run and of the servers that it started."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """An open run folder.

    `done` holds the result lines of the tasks that need not run again, by task id, and `known_candidates` the recorded
    candidates of tasks that an earlier run began and did not finish.
    """

    path: Path
    done: dict[str, dict[str, Any]]
    known_candidates: tuple[dict[str, Any], ...]
    results: Journal
    trees: Journal
    candidates: Journal
    tool_counts: Journal
    check_claim: Callable[[], None] = lambda: None
    """Called before a task is recorded; raises WriteError if another process has taken the folder over."""
    _writing: Lock = field(default_factory=Lock, init=False, repr=False)

    def commit(
        self, result: Mapping[str, Any], tree: Mapping[str, Any] | None, calls: Mapping[str, Any] | None = None
    ) -> None:
        """Record a finished task durably: its candidates and tree first, its result line last.

        `calls` are the counts of its tool calls. Thread-safe; one task is written at a time, so that both files have
        the same order. Raises TypeError or ValueError, with nothing written, for values that JSON does not have, and
        WriteError if the disk takes no more.
        """
        journal.encode_record(result)
        with self._writing:
            self.check_claim()
            self.candidates.sync()
            if tree is not None:
                self.trees.append(tree)
                self.trees.sync()
            if calls:
                self.tool_counts.append({"task_id": result["task_id"], "failed": is_internal(result), **calls})
            self.results.append(result)
            self.results.sync()
            self.done[str(result["task_id"])] = dict(result)


def check_outputs_folder(folder: Path) -> None:
    """Raise ConfigError if a folder for results cannot be created or written to."""
    try:
        parent = next(position for position in (folder, *folder.absolute().parents) if position.exists())
    except OSError as error:
        raise ConfigError(f"outputs={folder}: {error.strerror}") from error
    if not parent.is_dir():
        raise ConfigError(f"outputs={folder}: {parent} is no folder. Name the folder that run folders are made in.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"outputs={folder}: {parent} cannot be written to. Name another folder.")


def select_folder(base: Path, fresh: bool) -> Path:
    """Return the folder of highest number among `base`, `base-2`, `base-3`, …, or with `fresh` the next number.

    Numbers may be missing, since users remove folders. If a file has such a name, its number is skipped.
    """
    pattern = re.compile(re.escape(base.name) + r"(?:-([1-9][0-9]*))?")
    matches = [(pattern.fullmatch(path.name), path) for path in (base.parent.iterdir() if base.parent.is_dir() else ())]
    numbers = {int(match[1] or 1): path for match, path in matches if match and match[1] != "1"}
    folders = [number for number, path in numbers.items() if path.is_dir()]
    if folders and not fresh:
        return _add_number(base, max(folders))
    return _add_number(base, max(numbers, default=0) + 1)


@contextmanager
def open_folder(
    path: Path,
    run_log: AbstractContextManager[object] | None = None,
    *,
    wait: bool = False,
    tasks: Container[str] | None = None,
    runs_again: Callable[[Mapping[str, Any]], bool] = is_internal,
    prepare: Callable[[], object] = lambda: None,
    check_claim: Callable[[], None] = lambda: None,
) -> Iterator[RunFolder]:
    """Open the run folder, created if missing. If another run writes to it, `wait` for its end or raise ConfigError.

    `run_log` is opened once the folder is locked, so that the log tells what is repaired.
    `tasks` are the ids of the tasks to run, None for all; lines of other tasks that failed internally are kept.
    `runs_again` tells of a result line whether its task is to run once more. Lines that do not have the shape of their
    file are set aside. `prepare` is called after that, before the folder is read; `check_claim` before a task is
    recorded. Raises WriteError if the folder is read-only.
    """
    with ExitStack() as stack:
        lock_folder(path, stack, wait, tuple(SHAPES))
        if run_log is not None:
            stack.enter_context(run_log)
        for name, shape in (SHAPES | FURTHER_SHAPES).items():
            damaged_lines.set_damaged_lines_aside(path / name, shape)
        prepare()
        tree_file = TreeFile(path / TREES)
        done = _repair_results(path, tasks, tree_file, runs_again)
        _repair_trees(path / TREES, tree_file, done)
        known = _repair_candidates(path / CANDIDATES, done)
        results, trees, candidates, counts = (stack.enter_context(Journal(path / name)) for name in SHAPES)
        yield RunFolder(path, done, known, results, trees, candidates, counts, check_claim)


def describe_damage(path: Path) -> list[str]:
    """Return one sentence for each journal of a folder with damaged lines, for dry runs, which repair nothing."""
    sentences = [damaged_lines.describe_damage(path / name, shape) for name, shape in (SHAPES | FURTHER_SHAPES).items()]
    return [sentence for sentence in sentences if sentence is not None]


def read_finished(path: Path) -> dict[str, dict[str, Any]]:
    """Return the result lines of a folder's finished tasks, by task id; empty if the folder does not exist."""
    return read_finished_results(path)


def _repair_results(
    path: Path, tasks: Container[str] | None, trees: TreeFile, runs_again: Callable[[Mapping[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """Remove repeated lines and those of tasks to run again; return the lines of finished tasks, by task id."""
    latest, repeated = journal.read_latest_records(path / RESULTS, RESULT_SHAPE)
    warn_about_duplicates(path / RESULTS, repeated)
    finished = {task_id: line for task_id, line in latest.items() if not runs_again(line)}
    done = {task_id: line for task_id, line in finished.items() if task_id in trees}
    if lost := [task_id for task_id in finished if task_id not in trees]:
        log.warning(
            "%s: %d finished tasks have no tree in %s, such as %s: they run again, with the candidates that are there",
            path / RESULTS, len(lost), TREES, lost[0],
        )  # fmt: skip
    kept = [line for task_id, line in latest.items() if task_id in done or (tasks is not None and task_id not in tasks)]
    if repeated or len(kept) < len(latest):
        journal.atomic_write(path / RESULTS, map(journal.encode_record, kept))
    return done


def _repair_trees(file: Path, trees: TreeFile, done: Container[str]) -> None:
    """Remove repeated trees and those of unfinished tasks."""
    warn_about_duplicates(file, trees.duplicates)
    finished = [task_id for task_id in trees if task_id in done]
    if trees.duplicates or len(finished) < len(list(trees)):
        journal.atomic_write(file, trees.read_lines(finished))


def _repair_candidates(file: Path, done: Container[str]) -> tuple[dict[str, Any], ...]:
    """Remove the candidates of incompletely written draws; return the candidates of unfinished tasks.

    Such a draw is repeated as a whole, since a part of it cannot be drawn again with the same result.
    """
    records = list(journal.read_records(file, {"task_id": str}))
    complete = drop_incomplete_draws(records)
    if len(complete) < len(records):
        log.info("%s: %d candidates of incomplete draws are drawn again", file, len(records) - len(complete))
        journal.atomic_write(file, map(journal.encode_record, complete))
    return tuple(dict(record) for record in complete if record["task_id"] not in done)


def lock_folder(path: Path, stack: ExitStack, wait: bool, journals: Sequence[str]) -> None:
    """Lock the folder until the stack is closed; create it if missing.

    If another run holds the lock, `wait` for it or raise ConfigError. Raises WriteError if the folder is read-only.
    When the stack is closed, a folder without a record in one of the `journals` is removed; WriteError is raised if
    something else has removed or replaced the folder meanwhile.
    """
    with explain_write_errors(path / LOCK_FILE):
        path.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context((path / LOCK_FILE).open("a+"))
    if (holder := lock_file(file, wait)) is not None:
        raise ConfigError(
            f"{path}: another run is writing this result ({holder}). Wait for it, or start a folder of its own with "
            "fresh=true."
        )
    if not os.fstat(file.fileno()).st_nlink:  # the other run has removed the folder
        lock_folder(path, stack, wait, journals)
        return

    def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if _is_at(path / LOCK_FILE, file):
            with suppress(OSError):  # the folder has become unreadable
                _remove_if_unused(path, journals)
        elif error is None or (isinstance(error, Exception) and not isinstance(error, WriteError)):
            removed = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            raise WriteError(describe_write_error(path, removed)) from error

    stack.push(leave)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Return whether the open file is the one at the path, as far as that can be seen."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _remove_if_unused(path: Path, journals: Iterable[str]) -> None:
    """Remove the empty journals of a run that could not start, and its folder unless that holds logs.

    A folder with a record in one of the journals, or with shards, is left as it is.
    """
    files = [path / name for name in journals]
    if any(map(_has_content, files)) or (path / SHARDS_FOLDER).exists():
        return
    if not any(_has_content(file) for pattern in LOG_PATTERNS for file in path.glob(pattern)):
        shutil.rmtree(path, ignore_errors=True)
        return
    for file in (*files, path / FAULTS_FILE, path / SPENT_FILE):
        file.unlink(missing_ok=True)


def _has_content(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def lock_file(file: IO[str], wait: bool) -> str | None:
    """Lock an open file and write this process's id into it; return None.

    filelock neither names the process that holds a lock nor tells that its file was removed meanwhile.

    If another process holds the lock, wait for it, or return a description of that process.
    """
    try:
        if not lock_exclusively(file, wait=wait):
            log.warning("%s: this file system has no locks, so start no second command but of other shards", file.name)
    except BlockingIOError:
        file.seek(0)
        return f"process {file.read(20).strip() or 'unknown'}"
    with suppress(OSError):  # a full disk; the lock holds without its owner's id
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    return None


def _add_number(base: Path, number: int) -> Path:
    return base if number == 1 else base.with_name(f"{base.name}-{number}")
