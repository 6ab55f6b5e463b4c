"""The folders of a run's shards, `RUN/shards/3-of-16`, each with the files of a run over a part of the tasks.

Several machines may run shards over one shared folder, on NFS for example, and no lock is needed: every file has one
writer. A process claims its shard (`codetool.runs.claim`) and then writes in the shard's folder alone; when it has
ended normally, `RUN/shards/3-of-16.done` says for which tasks the run was asked. The run's own files are written by
the process that merges, which holds a claim too.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.result_files import RESULTS
from codetool.evaluation.result_records import RESULT_SHAPE
from codetool.runs import journal
from codetool.runs.bounded_input import parse_json, read_text
from codetool.runs.claim import Claim, ClaimedError, find_holders, hold_claim
from codetool.runs.shard import Shard
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.run_folder import CANDIDATES, SHARDS_FOLDER
from codetool.types import Task

MERGE = "merge"
"""Name of the claim of the process that merges."""
RECORDED_FILE = "recorded.jsonl"
"""File of a shard's folder with the tool answers that it recorded."""
WAIT_SECONDS = 1.0
"""Time between two attempts at merging while another process merges."""

RunsAgain = Callable[[Mapping[str, Any]], bool]
"""Tells of a result line whether its task is to run once more."""


@dataclass(frozen=True)
class ShardFolder:
    """The folder of a shard that this process has claimed."""

    path: Path
    tasks: Sequence[Task]
    """Tasks of the shard, without those that are done elsewhere in the run's folder."""
    claim: Claim


@contextmanager
def open_shard(run: Path, shard: Shard, tasks: Sequence[Task], runs_again: RunsAgain) -> Iterator[ShardFolder]:
    """Claim a shard of a run over `tasks` while the context is open, and mark it as done if no error ends it.

    What the run's folder and shards of another number have begun or done is not done again. Raises ConfigError if
    another process runs this shard, or one of another number of shards.
    """
    path = run / SHARDS_FOLDER / shard.name
    with explain_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    others = [other for other in list_shards(run) if _parse(other).count != shard.count]
    _refuse_other_count(shard, others)
    with hold_claim(path, partial(_describe_running, shard)) as claim:
        done_file = path.with_name(f"{path.name}.done")
        with explain_write_errors(done_file):
            done_file.unlink(missing_ok=True)
        own = [task for task in tasks if shard.has(task.id)]
        elsewhere = {task_id for folder in (run, *others) for task_id in _list_done(folder, runs_again)}
        kept = elsewhere - _list_recorded(path)
        own = [task for task in own if task.id not in kept]
        _copy_begun(path, (run, *others), {task.id for task in own})
        yield ShardFolder(path, own, claim)
        digest = json.dumps({"tasks": _hash_tasks(tasks)})
        journal.atomic_write(done_file, [digest.encode() + b"\n"])


def list_shards(run: Path) -> list[Path]:
    """Return the folders of all shards of a run, in order."""
    folders = [path for path in (run / SHARDS_FOLDER).glob("*-of-*") if path.is_dir() and Shard.parse_name(path.name)]
    return sorted(folders, key=lambda path: (_parse(path).count, _parse(path).index))


def list_unfinished(run: Path, shard: Shard, tasks: Sequence[Task]) -> list[Shard]:
    """Return the shards of the same number that have not ended normally for a run over these tasks."""
    expected = _hash_tasks(tasks)
    return [other for other in shard.siblings if _read_done(run / SHARDS_FOLDER / f"{other.name}.done") != expected]


def refuse_running_shards(run: Path) -> None:
    """Raise ConfigError if a shard of the run is running, whose tasks would run twice."""
    holders = find_holders(list_shards(run))
    if holders:
        path, holder = next(iter(holders.items()))
        raise ConfigError(
            f"{run}: shard={_parse(path)} of this run is running ({holder}). Wait for it, or look at what is there: "
            f"stage=report report.folder={run}"
        )


@contextmanager
def hold_merge_claim(run: Path, *, wait: bool) -> Iterator[Claim]:
    """Let this process alone merge while the context is open.

    If another one merges, `wait` for its end or raise ClaimedError.
    """
    with ExitStack() as stack:
        while True:
            try:
                claim = stack.enter_context(hold_claim(run / SHARDS_FOLDER / MERGE, partial(_describe_merging, run)))
                break
            except ClaimedError:
                if not wait:
                    raise
                time.sleep(WAIT_SECONDS)
        yield claim


def _describe_merging(run: Path, holder: str) -> str:
    return f"{run}: its shards are being merged ({holder}). Wait for it."


def _parse(path: Path) -> Shard:
    shard = Shard.parse_name(path.name)
    assert shard is not None, path
    return shard


def _describe_running(shard: Shard, holder: str) -> str:
    return f"shard={shard}: another process runs this shard ({holder}). Wait for it, or choose another shard."


def _refuse_other_count(shard: Shard, others: Sequence[Path]) -> None:
    holders = find_holders(others)
    if holders:
        path, holder = next(iter(holders.items()))
        raise ConfigError(
            f"shard={shard}: shard={_parse(path)} of this run is running ({holder}), which divides the tasks in "
            "another way. Wait for it, or use the same number of shards."
        )


def _list_done(folder: Path, runs_again: RunsAgain) -> Iterator[str]:
    lines, _ = journal.read_latest_records(folder / RESULTS, RESULT_SHAPE)
    return (task_id for task_id, line in lines.items() if not runs_again(line))


def _list_recorded(folder: Path) -> set[str]:
    return set(journal.read_latest_records(folder / RESULTS, {"task_id": str})[0])


def _copy_begun(path: Path, sources: Sequence[Path], ids: set[str]) -> None:
    """Copy what the policy has drawn elsewhere for these tasks into the folder of a shard that is new."""
    file = path / CANDIDATES
    if file.exists():
        return
    begun: dict[str, Path] = {}
    lines: list[bytes] = []
    for source in sources:
        for record in journal.read_records(source / CANDIDATES, {"task_id": str}):
            if record["task_id"] in ids and begun.setdefault(record["task_id"], source) == source:
                lines.append(journal.encode_record(record))
    if lines:
        journal.atomic_write(file, lines)


def _hash_tasks(tasks: Sequence[Task]) -> str:
    return hashlib.sha256(json.dumps([task.id for task in tasks]).encode()).hexdigest()


def _read_done(file: Path) -> str | None:
    try:
        return str(parse_json(read_text(file))["tasks"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
