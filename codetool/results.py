"""The results of runs and sweeps as pandas data frames of tasks, steps and tool calls.

    results = codetool.results.load("outputs/evaluate/NAME")
    results.tasks.groupby("error_kind").size()

Folders of stage=evaluate, stage=collect and stage=evaluate_prm can be loaded, those of sweeps, and several at once;
folders of earlier versions too. A run may still be in progress. Nothing is executed and no benchmark is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetool.errors import ConfigError, MissingError
from codetool.evaluation import result_columns
from codetool.evaluation.result_columns import Row
from codetool.evaluation.result_files import RESULTS
from codetool.evaluation.sweep_table import TABLE_FILE, read_sweep_table
from codetool.runs import provenance
from codetool.runs.identity import OPTION_KEY

if TYPE_CHECKING:
    import pandas

OPTION_GROUPS = ("benchmark", "search", "policy", "prm")
"""Groups whose option describes a run."""
INSTALL_HINT = "codetool.results needs pandas, which is not installed: pip install 'codetool[results]'"
TEXT_COLUMNS = frozenset(
    {"task_id", "node_id", "parent", "group", "query", "answer", "text", "code", "observation", "error",
     "error_message", "stderr", "url", "step"}
)  # fmt: skip
"""Columns of any text, which no string type but Python's own can be relied on to hold."""


@dataclass(frozen=True)
class RunFolder:
    """One run folder that was loaded."""

    name: str
    """Name of the run, unique among the loaded runs: the folder's name, or what a sweep varied in it."""
    folder: Path | None
    """None for a cell of a sweep that failed before it had one."""
    options: Mapping[str, str]
    """Value of each option that its sweep varied; empty outside a sweep."""
    status: str
    """Status of the cell in its sweep's table, `done` outside a sweep."""

    @cached_property
    def task_rows(self) -> list[Row]:
        """Rows of the tasks, without a name of the run."""
        return [] if self.folder is None else result_columns.read_task_rows(self.folder)


@dataclass(frozen=True)
class Results:
    """Results of one run or of several. Each frame is read from the files when it is first asked for.

    Every frame has the column `run`, and after it a column for each option that a sweep varied, such as `search.n`.
    """

    folders: Sequence[RunFolder]

    @cached_property
    def runs(self) -> pandas.DataFrame:
        """A row for each run: its stage, options, seed and folder. A failed cell of a sweep has a row here only."""
        return self._make_frame((run, [_describe_run(run)]) for run in self.folders)

    @cached_property
    def tasks(self) -> pandas.DataFrame:
        """A row for each task with a result: the answer, its error, every metric and the costs."""
        return self._make_frame((run, run.task_rows) for run in self.folders)

    @cached_property
    def steps(self) -> pandas.DataFrame:
        """A row for each step that was tried: its text and code, what it printed, its rewards, whether it was chosen.

        Steps of stage=collect also have their estimates and labels. Those of stage=evaluate_prm have the PRM's score.
        """
        return self._make_frame(
            (run, result_columns.read_step_rows(run.folder, run.task_rows) if run.folder else [])
            for run in self.folders
        )

    @cached_property
    def calls(self) -> pandas.DataFrame:
        """A row for each tool call of these steps: request, status, who answered, seconds."""
        return self._make_frame(
            (run, result_columns.read_call_rows(run.folder) if run.folder else []) for run in self.folders
        )

    def _make_frame(self, rows_by_run: Iterable[tuple[RunFolder, list[Row]]]) -> pandas.DataFrame:
        pd = _import_pandas()
        names = dict.fromkeys(name for run in self.folders for name in run.options)
        runs: list[RunFolder] = []
        rows: list[Row] = []
        for run, rows_of_run in rows_by_run:
            runs += [run] * len(rows_of_run)
            rows += rows_of_run
        frame = pd.DataFrame({"run": pd.Series([run.name for run in runs], dtype=object)})
        for name in names:
            frame[name] = _convert_column(pd, name, [_parse_number(run.options.get(name)) for run in runs])
        columns = result_columns.make_columns(rows)
        added = {name: _convert_column(pd, name, values) for name, values in columns.items() if name not in frame}
        return pd.concat([frame, pd.DataFrame(added, index=frame.index)], axis=1)


def load(*folders: str | Path | Iterable[str | Path]) -> Results:
    """Return the results in run folders and sweeps' folders, named one by one or in lists.

    They stay on disk until a frame is asked for.

    Raises MissingError if pandas is not installed or a folder is not there, and ConfigError for a folder of something
    else; reading a frame raises ConfigError for a damaged line.
    """
    _import_pandas()
    paths = [path for each in folders for path in ([each] if isinstance(each, str | Path) else each)]
    if not paths:
        raise ConfigError("codetool.results.load needs a folder of a run or of a sweep: load('outputs/evaluate/NAME')")
    runs = [run for path in paths for run in _find_runs(Path(path).expanduser())]
    names = [run.name for run in runs]
    return Results([run if names.count(run.name) == 1 else replace(run, name=str(run.folder)) for run in runs])


def _find_runs(folder: Path) -> list[RunFolder]:
    if not folder.is_dir():
        raise MissingError(f"{folder} is no folder. Name one of a run, outputs/STAGE/NAME, or outputs/sweeps/NAME.")
    if (folder / TABLE_FILE).is_file():
        rows = read_sweep_table(folder)
        return [RunFolder(_name_cell(row.options) or folder.name, row.folder, row.options, row.status) for row in rows]
    readable = (RESULTS, result_columns.STEPS_FILE, result_columns.SCORES_FILE)
    if not any((folder / name).is_file() for name in readable):
        raise ConfigError(
            f"{folder} holds no results: there is no {RESULTS} of stage=evaluate or stage=collect, no "
            f"{result_columns.SCORES_FILE} of stage=evaluate_prm and no {TABLE_FILE} of a sweep in it."
        )
    return [RunFolder(folder.resolve().name, folder, {}, "done")]


def _name_cell(options: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items())


def _describe_run(run: RunFolder) -> Row:
    """Return status and folder of a run, and stage, options and seed from its provenance, if it has one."""
    described: Row = {"status": run.status, "folder": str(run.folder) if run.folder else None}
    if run.folder is None or not (run.folder / provenance.PROVENANCE_FILE).is_file():
        return described
    settings = provenance.read_provenance(run.folder).identity.settings
    options = {group: settings.get(group) for group in OPTION_GROUPS}
    named = {group: value.get(OPTION_KEY) if isinstance(value, Mapping) else None for group, value in options.items()}
    return {"stage": settings.get("stage"), **named, "seed": settings.get("seed"), **described}


def _convert_column(pd: Any, name: str, values: list[Any]) -> Any:
    """Return a column as a pandas series: numbers as floats or integers, truth values that may be missing."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if None in values else bool)
    if kinds and kinds <= {int, float, bool}:
        return pd.Series(values, dtype=float if None in values or kinds != {int} else None)
    if name in TEXT_COLUMNS or kinds - {str}:
        return pd.Series(values, dtype=object)
    return pd.Series(values, dtype=None if kinds else object)


def _parse_number(text: str | None) -> int | float | str | None:
    """Return the value of a swept option as a number, if it is one."""
    for parse in (int, float):
        try:
            return parse(text or "")
        except ValueError:
            continue
    return text


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingError(INSTALL_HINT) from error
    return pandas
