"""A sweep's folder written by hand: its table, and run folders with result lines and reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPORT = "<title>report</title>"


def result_line(task: str, success: bool, **amounts: float | None) -> dict[str, Any]:
    metrics = {"success": success, "tokens_in": 100, "tokens_out": 10, "seconds": 1.0, "usd": None} | amounts
    error = None if success else {"kind": "wrong_answer", "message": "because"}
    line = {"task_id": task, "query": f"What is {task}?", "success": success, "finished": True}
    return line | {"metrics": metrics, "error": error}


def write_sweep(folder: Path, cells: Sequence[tuple[Mapping[str, str], Sequence[dict[str, Any]]]]) -> Path:
    """Write a sweep with these cells, each its swept options and result lines; without lines it has failed."""
    sweep = folder / "sweeps" / "by-hand"
    sweep.mkdir(parents=True)
    rows = [_write_cell(folder / "evaluate" / f"cell-{number}", *cell) for number, cell in enumerate(cells)]
    names = max((list(row) for row in rows), key=len)
    with (sweep / "cells.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return sweep


def _write_cell(folder: Path, options: Mapping[str, str], lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not lines:
        return {**options, "status": "failed: no model", "tasks": "", "finished": "", "failed": "", "folder": ""}
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "report.html").write_text(REPORT)
    row = {**options, "status": "done", "tasks": len(lines), "finished": len(lines), "failed": 0}
    for name in lines[0]["metrics"]:
        values = [float(line["metrics"][name]) for line in lines if line["metrics"][name] is not None]
        if values:
            mean = sum(values) / len(values)
            row |= {name: mean, f"{name}_low": 0.8 * mean, f"{name}_high": min(1.0, 1.1 * mean)}
    return row | {"folder": str(folder)}


def write_prm_result(folder: Path, regret: float) -> Path:
    """Write a result of stage=evaluate_prm with two bins."""
    folder.mkdir(parents=True)
    metrics = {"ece": 0.1, "selection_regret": regret, "selection_regret_random": 0.4}
    content = {
        "metrics": {name: {"value": value, "low": 0.0, "high": 0.5, "n": 9} for name, value in metrics.items()},
        "reliability": [
            {"low": 0.0, "high": 0.5, "score": 0.2, "soft": {"value": 0.3, "low": 0.2, "high": 0.4, "n": 5}},
            {"low": 0.5, "high": 1.0, "score": 0.8, "soft": {"value": 0.6, "low": None, "high": None, "n": 4}},
        ],
    }
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder
