"""Read the files of run folders into columns, lists of equal length by name, from which data frames are made.

Lines are read fast and their fields are not checked one by one, since a file may have a hundred thousand of them: a
line that lacks a needed field is an error, and fields that are not known here become columns of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from codetool.errors import ConfigError
from codetool.evaluation.judged_results import JUDGED_FILE, join_votes
from codetool.evaluation.result_files import RESULTS, TREES, natural_sort_key, warn_about_duplicates
from codetool.runs import journal
from codetool.runs.repeats import find_task_id, get_repeat

Row = dict[str, Any]
Columns = dict[str, list[Any]]

STEPS_FILE = "steps.jsonl"
"""Scored steps in a folder of stage=evaluate_prm."""
SCORES_FILE = "scores.jsonl"
"""Their scores alone; folders of earlier versions have no other file."""
PROCESS_FILE = "process.jsonl"
"""Estimates of the steps in a folder of stage=collect."""
ESTIMATES = {"executed": "executed", "soft": "soft", "hard": "hard", "latent": "latent_estimate", "label": "label"}
"""Fields of `process.jsonl` that join the steps of stage=collect, with the names of their columns."""


def read_task_rows(folder: Path) -> list[Row]:
    """Return a flat row for each result line of a folder, joined with the judge's verdicts, in the order of the ids.

    Raises ConfigError for a line of another shape.
    """
    latest: dict[str, Row] = {}
    count = 0
    for line in _read_lines(folder / RESULTS, _flatten_result):
        count += 1
        latest[line["task_id"]] = line
    warn_about_duplicates(folder / RESULTS, count - len(latest))
    for verdict in _read_lines(folder / JUDGED_FILE, _keep_line):
        if verdict["task_id"] in latest:
            row = latest[verdict["task_id"]]
            row |= join_votes({"metrics": {}}, verdict)["metrics"]
    return [latest[task_id] for task_id in sorted(latest, key=natural_sort_key)]


def read_step_rows(folder: Path, tasks: Sequence[Row]) -> list[Row]:
    """Return a row for each step of the trees of a folder, or for each scored step of a folder of stage=evaluate_prm.

    `tasks` are its rows of `read_task_rows`, which name the chosen paths. Raises ConfigError like `read_task_rows`.
    """
    for name in (STEPS_FILE, SCORES_FILE):
        if (folder / name).is_file():
            return list(_read_steps(folder / name).values())
    paths = {row["task_id"]: frozenset(row["path"]) for row in tasks}

    def flatten(task_id: str, nodes: Sequence[Row]) -> list[Row]:
        chosen = paths.get(task_id, frozenset())
        return [_flatten_node(task_id, node, node["id"] in chosen) for node in nodes]

    return _join_estimates(_read_trees(folder, flatten), folder / PROCESS_FILE)


def read_call_rows(folder: Path) -> list[Row]:
    """Return a row for each tool call of the trees of a folder. Raises ConfigError like `read_task_rows`."""
    return _read_trees(folder, _list_calls)


def make_columns(rows: Sequence[Row]) -> Columns:
    """Return the rows as columns, in the order in which their names first appear; a missing value is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _flatten_result(line: Row) -> Row:
    """Return the row of a result line: its fields, with those of its metrics, costs and error beside them."""
    error, metrics = line["error"] or {}, line["metrics"]
    row = {
        "task_id": line["task_id"],
        "task": find_task_id(line),
        "repeat": get_repeat(line),
        "query": line.get("query"),
        "answer": line.get("answer"),
        "success": line.get("success"),
        "finished": line.get("finished"),
        "stopped_by": line.get("stopped_by"),
        "error_kind": error.get("kind"),
        "error_message": error.get("message"),
        "path": line.get("path") or [],
    }
    row["steps"] = len(row["path"])
    others = {name: value for name, value in line.items() if name not in ("error", "metrics", "ledger")}
    costs = {name: value for name, value in _flatten(line.get("ledger") or {}) if name not in metrics}
    return {**row, **metrics, **costs, **{name: value for name, value in others.items() if name not in row}}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _flatten_node(task_id: str, node: Row, chosen: bool) -> Row:
    run = node["execution"] or {}
    row = {
        "task_id": task_id,
        "node_id": node["id"],
        "parent": node["parent"],
        "depth": node["depth"],
        "text": node["text"],
        "code": node["code"],
        "status": run.get("status"),
        "observation": run.get("observation"),
        "error": run.get("error"),
        "seconds": run.get("seconds"),
        "calls": len(run.get("calls") or ()),
        "chosen": chosen,
    }
    return row | {name: value for name, value in node.items() if name not in ("id", "execution", *row)}


def _join_estimates(rows: list[Row], process_file: Path) -> list[Row]:
    """Add the estimates of stage=collect to the rows of the steps that have them."""
    by_step = {
        step: {column: line.get(name) for name, column in ESTIMATES.items()}
        for step, line in _read_steps(process_file).items()
    }
    if not by_step:
        return rows
    missing = dict.fromkeys(ESTIMATES.values())
    return [row | by_step.get((row["task_id"], row["node_id"]), missing) for row in rows]


def _is_answered(call: Row) -> bool:
    return call["provenance"] is not None and 200 <= call["http_status"] < 300


def _list_calls(task_id: str, nodes: Sequence[Row]) -> list[Row]:
    return [
        {"task_id": task_id, "node_id": node["id"], "call": number, **call, "answered": _is_answered(call)}
        for node in nodes
        if node["execution"]
        for number, call in enumerate(node["execution"]["calls"], start=1)
    ]


def _read_trees(folder: Path, make_rows: Callable[[str, Sequence[Row]], list[Row]]) -> list[Row]:
    """Return the rows that `make_rows` makes of each task's nodes, in the order of the ids; its last line counts."""
    lines = _read_lines(
        folder / TREES, lambda line: {"id": line["task_id"], "rows": make_rows(line["task_id"], line["nodes"])}
    )
    latest = {line["id"]: line["rows"] for line in lines}
    return [row for task_id in sorted(latest, key=natural_sort_key) for row in latest[task_id]]


def _read_steps(file: Path) -> dict[tuple[str, str], Row]:
    """Return the lines of a file with a line for each step by (task id, node id); the last line of a step counts."""
    lines = _read_lines(file, lambda line: {"task_id": line["task_id"], "node_id": line["node_id"], **line})
    return {(line["task_id"], line["node_id"]): line for line in lines}


def _keep_line(line: Row) -> Row:
    """Return a line that names its task. Raises KeyError or TypeError for others."""
    return {"task_id": line["task_id"], **line}


def _read_lines(file: Path, convert: Callable[[Row], Row]) -> Iterator[Row]:
    """Yield the converted lines of a journal; nothing if it is missing. Raises ConfigError for another shape."""
    for number, line in journal.read_complete_lines(file):
        try:
            yield convert(from_json(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            yield _convert_slowly(file, number, line, convert)


def _convert_slowly(file: Path, number: int, line: bytes, convert: Callable[[Row], Row]) -> Row:
    """Convert a line that the fast parser refuses, such as one with half a surrogate pair. Raises ConfigError."""
    try:
        return convert(journal.decode_record(file, number, line))
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file}, line {number}, has another shape than the lines of this version ({type(error).__name__}: "
            f"{error}). Was the file changed by hand, or written by another version?"
        ) from error
