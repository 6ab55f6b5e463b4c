"""Merge the journals of a run's shards into the journals of its folder.

The folders of the shards are only read, so that shards may be running meanwhile, and a merge can be repeated: what was
merged before is not counted twice. Each file is replaced as a whole, the results last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.result_files import RESULTS, TREES, TreeFile
from codetool.evaluation.result_records import RESULT_SHAPE
from codetool.judges.votes import VERDICTS, VOTES_FILE
from codetool.models.vllm_servers import USAGE_FILE
from codetool.runs import journal
from codetool.runs.merged_sessions import PART_KEY, merge_sessions
from codetool.runs.provenance import read_provenance
from codetool.stages.evaluate.run_limit import is_stopped_by_run
from codetool.stages.fault_journal import FAULTS_FILE
from codetool.stages.run_folder import CANDIDATES, TOOL_COUNTS
from codetool.stages.spent_journal import SPENT_FILE

COUNTED_FILES = (TOOL_COUNTS, SPENT_FILE, FAULTS_FILE, USAGE_FILE)
"""Journals whose lines have no key: each line counts."""


def merge_shards(folder: Path, parts: Sequence[Path], order: Sequence[str]) -> int:
    """Merge the folders of shards into the run folder, whose lock the caller holds; return the number of results.

    The results are written in the `order` of these task ids, others after them. Of two results of a task, the one that
    is no internal failure and not stopped by the run's budget is kept, or the folder's own. Raises ConfigError for
    lines that cannot be read, and WriteError if a file cannot be written.
    """
    lines = _read_results(folder)
    done = len(lines)
    sources: dict[str, Path] = {}
    results = {part: _read_results(part) for part in parts}
    for part, part_lines in results.items():
        for task_id, line in part_lines.items():
            if task_id not in lines or _rank(line) > _rank(lines[task_id]):
                lines[task_id], sources[task_id] = line, part
    sources |= _find_begun(folder, parts, lines)
    _merge_by_task(folder, parts, sources)
    for name in (VOTES_FILE, VERDICTS):
        _merge_by_key(folder, parts, name)
    for name in COUNTED_FILES:
        _merge_counted(folder, parts, name)
    merge_sessions(folder, {part: len(part_lines) for part, part_lines in results.items()}, done)
    if sources:
        ids = dict.fromkeys([*(task_id for task_id in order if task_id in lines), *lines])
        journal.atomic_write(folder / RESULTS, (journal.encode_record(lines[task_id]) for task_id in ids))
    return len(lines)


def _read_results(folder: Path) -> dict[str, dict[str, Any]]:
    return journal.read_latest_records(folder / RESULTS, RESULT_SHAPE)[0]


def _rank(line: Mapping[str, Any]) -> int:
    return 0 if is_internal(line) else 1 if is_stopped_by_run(line) else 2


def _find_begun(folder: Path, parts: Sequence[Path], done: Container[str]) -> dict[str, Path]:
    """Return the part that has drawn the most candidates of each task without a result, if it is not the folder."""
    counts = Counter(
        (record["task_id"], source)
        for source in (folder, *parts)
        for record in journal.read_records(source / CANDIDATES, {"task_id": str})
        if record["task_id"] not in done
    )
    largest = {task_id: source for (task_id, source), _ in reversed(counts.most_common())}
    return {task_id: source for task_id, source in largest.items() if source != folder}


def _merge_by_task(folder: Path, parts: Sequence[Path], sources: Mapping[str, Path]) -> None:
    """Replace the candidates and trees of the tasks in `sources` by those of the part there."""
    if not sources:
        return

    def read_candidates() -> Iterator[bytes]:
        for source in (folder, *parts):
            for record in journal.read_records(source / CANDIDATES, {"task_id": str}):
                if sources.get(record["task_id"], folder) == source:
                    yield journal.encode_record(record)

    def read_trees() -> Iterator[bytes]:
        for source in (folder, *parts):
            trees = TreeFile(source / TREES)
            yield from trees.read_lines(task_id for task_id in trees if sources.get(task_id, folder) == source)

    journal.atomic_write(folder / CANDIDATES, read_candidates())
    journal.atomic_write(folder / TREES, read_trees())


def _merge_by_key(folder: Path, parts: Sequence[Path], name: str) -> None:
    """Merge votes, of which each key has one."""
    votes: dict[str, dict[str, Any]] = {}
    for source in (*parts, folder):
        votes |= journal.read_latest_records(source / name, {"key": str}, "key")[0]
    if votes:
        journal.atomic_write(folder / name, map(journal.encode_record, votes.values()))


def _merge_counted(folder: Path, parts: Sequence[Path], name: str) -> None:
    """Merge lines without a key: those of a part replace what was merged from it before."""
    present = [part for part in parts if (part / name).is_file()]
    if not present:
        return
    ids = {part: {"name": part.name, "result": read_provenance(part).result} for part in present}

    def read_lines() -> Iterator[bytes]:
        for record in journal.read_records(folder / name):
            if record.get(PART_KEY) not in ids.values():
                yield journal.encode_record(record)
        for part in present:
            for record in journal.read_records(part / name):
                yield journal.encode_record({**record, PART_KEY: ids[part]})

    journal.atomic_write(folder / name, read_lines())
