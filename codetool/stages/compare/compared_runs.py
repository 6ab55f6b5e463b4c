"""Read the runs that stage=compare compares, and refuse runs that cannot be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.result_files import RESULTS
from codetool.evaluation.sweep_table import TABLE_FILE, SweepRow, read_sweep_table
from codetool.runs.identity import CLASS_KEY, OPTION_KEY
from codetool.runs.plugin_code import CHECKSUM_PREFIX
from codetool.runs.provenance import PROVENANCE_FILE, Provenance, read_provenance
from codetool.runs.repeats import find_task_id
from codetool.stages.report import load_requested_tasks, read_settings
from codetool.types import Task

RUN_FILES = ("config.yaml", PROVENANCE_FILE, RESULTS)
DONE = "done"
"""Status of a cell whose tasks all have a result."""
MAX_NAMED_CELLS, MAX_REASON_CHARS = 5, 200
"""Number of cells without results that a message names, and of characters of the reason of each."""
CHECKER_SETTING = "recheck"
"""Setting in the identity of a result that stage=recheck has made."""


@dataclass(frozen=True)
class ComparedRun:
    """A run folder with its result lines."""

    folder: Path
    settings: Mapping[str, Any]
    provenance: Provenance
    lines: Sequence[Mapping[str, Any]]
    """Result lines with the judge's verdicts, one for each task and repeat, sorted by id."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Requested tasks by the benchmark's id; empty if the benchmark cannot be loaded."""
    note: str | None = None
    """Why the benchmark cannot be loaded."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def task_ids(self) -> frozenset[str]:
        """The benchmark's ids of the tasks with a result."""
        return frozenset(map(find_task_id, self.lines))

    @property
    def hashed(self) -> Mapping[str, Any]:
        """The settings that determine the result."""
        return self.provenance.identity.settings

    @property
    def seed(self) -> Any:
        """The seed of the run."""
        return self.hashed.get("seed")


def read_runs(paths: Sequence[Path]) -> tuple[list[ComparedRun], list[str]]:
    """Read the run folders, and the cells of sweeps among the paths, each folder once.

    Returns the runs, and a line for each sweep with cells that have no results, which are left out. Raises ConfigError
    or MissingError, naming the path, for what is neither, and ConfigError for fewer than two runs.
    """
    listed = [_list_folders(path) for path in paths]
    folders = list(dict.fromkeys(folder.resolve() for found, _ in listed for folder in found))
    notes = [note for _, note in listed if note is not None]
    if not folders:
        raise ConfigError(
            "compare.runs is not set. Name run folders, compare.runs=[outputs/evaluate/NAME,outputs/evaluate/OTHER], "
            "or the folder of a sweep, compare.runs=[outputs/sweeps/NAME]."
        )
    runs = [_read_run(folder) for folder in folders]
    if len(runs) < 2:
        what = f"compare.runs names one run{' with results' if notes else ''}, {folders[0]}"
        raise ConfigError(" ".join([f"{what}: name at least two, or a sweep of several cells.", *notes]))
    _refuse_other_benchmarks(runs)
    return runs, notes


def _list_folders(path: Path) -> tuple[list[Path], str | None]:
    """Return a run folder itself, or the run folders of a sweep's cells that have results, and what is left out."""
    if not path.is_dir():
        raise MissingError(f"compare.runs: there is no folder {path} (from {Path.cwd()}).")
    if not (path / TABLE_FILE).is_file():
        return [path], None
    folders: list[Path] = []
    left_out: list[str] = []
    rows = read_sweep_table(path, "compare.runs=")
    for row in rows:
        if row.folder is not None and _has_results(row.folder):
            folders.append(row.folder)
        else:
            left_out.append(_describe_cell(row))
    if not left_out:
        return folders, None
    more = len(left_out) - MAX_NAMED_CELLS
    named = "; ".join([*left_out[:MAX_NAMED_CELLS], *([f"{more} more"] if more > 0 else [])])
    if not folders:
        raise ConfigError(f"compare.runs: no cell of the sweep {path} has a run folder with results: {named}.")
    return folders, f"{len(left_out)} of the {len(rows)} cells of {path} have no results and are left out: {named}."


def _has_results(folder: Path) -> bool:
    file = folder / RESULTS
    return file.is_file() and file.stat().st_size > 0


def _describe_cell(row: SweepRow) -> str:
    """Return the options of a cell and why it has no results."""
    options = " ".join(f"{name}={value}" for name, value in row.options.items())
    if row.status != DONE:
        reason = " ".join(row.status.split()).rstrip(".")[:MAX_REASON_CHARS]
    else:
        reason = f"no {RESULTS} in {row.folder}" if row.folder is not None else "its run folder is not there"
    return f"{options} ({reason})"


def _read_run(folder: Path) -> ComparedRun:
    for name in RUN_FILES:
        if name == RESULTS and not (folder / name).is_file():
            raise ConfigError(f"compare.runs: {folder} has no result yet.")
        if not (folder / name).is_file():
            raise ConfigError(
                f"compare.runs: {folder} is no run folder: there is no {name} in it. Name folders of outputs/evaluate, "
                "or of a sweep in outputs/sweeps that has ended."
            )
    settings = read_settings(folder)
    lines = load_result_lines(folder)
    if not lines:
        raise ConfigError(f"compare.runs: {folder} has no result yet.")
    tasks: Mapping[str, Task] = {}
    note = None
    try:
        requested = load_requested_tasks(folder, settings)
        tasks = {task.id: task for task in requested if task.repeat == 1}
    except (CodeToolError, OSError) as error:
        note = f"{folder.name}: gold paths, templates and groups are left out: {error}"
    return ComparedRun(folder, settings, read_provenance(folder), lines, tasks, note)


def _refuse_other_benchmarks(runs: Sequence[ComparedRun]) -> None:
    """Raise ConfigError if two runs differ in their benchmark or in what checked their answers."""
    first = runs[0]
    for other in runs[1:]:
        both = f"{first.folder} and {other.folder}"
        mine, theirs = _describe_benchmark(first), _describe_benchmark(other)
        if mine != theirs:
            raise ConfigError(
                f"compare.runs: {both} are of different benchmarks: {mine} and {theirs}. Name runs of the same "
                "benchmark and split."
            )
        if _list_checkers(first) != _list_checkers(other):
            raise ConfigError(
                f"compare.runs: the answers of {both} were checked by different checkers. Check them by the same one: "
                "stage=recheck recheck.folder=FOLDER for each, and compare the folders that it makes."
            )


def _describe_benchmark(run: ComparedRun) -> str:
    benchmark = run.hashed.get("benchmark") or {}
    name = benchmark.get(OPTION_KEY) or benchmark.get(CLASS_KEY)
    return f"{name} with the data {str(run.provenance.identity.checksums.get('benchmark'))[:8]}"


def _list_checkers(run: ComparedRun) -> dict[str, Any]:
    """Return what decides whether an answer is right, besides CodeTool's own code."""
    package = str((run.settings.get("benchmark") or {}).get("_target_", "")).partition(".")[0]
    name = f"{CHECKSUM_PREFIX}{package}"
    return {
        "plug-in": run.provenance.identity.checksums.get(name),
        CHECKER_SETTING: run.hashed.get(CHECKER_SETTING),
    }
