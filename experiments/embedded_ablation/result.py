"""Collect the results of the ablation as plain data from the journals of the run folders.

Finished tasks count, and missing ones are listed. A task is `unseen` if no train task has its template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

from cells import Cell, CellRun, Plan

from codetool.benchmarks import tmdb_verified
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.intervals import RESAMPLES
from codetool.evaluation.paired_comparison import TaskValues, average_runs, compute_differences, estimate_mean
from codetool.evaluation.result_files import read_results
from codetool.stages.report import read_checksums, read_settings

METRICS = ("success", "scep", "tokens", "prm_tokens", "tool_calls")
"""Of a task; `tokens` are the policy's, in and out."""
COMPARED = ("success", "scep")
DIFFERENCES = (
    ("full", "without_latent"),
    ("full", "chain"),
    ("full", "without_spot"),
    ("beam", "full"),
    ("oracle", "full"),
)
NOT_KEPT = ("prompt", "path", "weights_wheel", "base_url")
"""Settings that stand in the repository, or that name places of one machine."""

Measured = Mapping[str, Mapping[str, float]]
"""For each metric a number for each task."""


@dataclass(frozen=True)
class Tasks:
    """Tasks of the ablation."""

    templates: Mapping[str, str]
    """Each task's template, in the order of the benchmark."""
    groups: Mapping[str, Sequence[str]]
    """Ids of `all` tasks, of those with a template `seen` in train, and of the `unseen` others."""

    @classmethod
    def of(cls, split: str, limit: int | None) -> Self:
        """Return the first tasks of a split, at most `limit`."""
        rows = [(row["id"].split("-")[0], row["id"], row["template"]) for row in tmdb_verified.load_all_rows()]
        trained = {template for of, _, template in rows if of == "train"}
        templates = dict([(task, template) for of, task, template in rows if of == split][:limit])
        seen = [task for task in templates if templates[task] in trained]
        unseen = [task for task in templates if templates[task] not in trained]
        return cls(templates, {"all": list(templates), "seen": seen, "unseen": unseen})

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of tasks and templates in each group."""
        return {
            group: {"tasks": len(ids), "templates": len({self.templates[task] for task in ids})}
            for group, ids in self.groups.items()
        }

    def estimates(self, values: TaskValues) -> dict[str, dict[str, Any] | None]:
        """Return the mean of the available values with its intervals, for each group."""
        made = {}
        for group, ids in self.groups.items():
            found = estimate_mean({task: values[task] for task in ids if task in values}, self.templates)
            made[group] = asdict(found) if found else None
        return made


def result(command: str, plan: Plan, planned: Sequence[CellRun], timed: Sequence[CellRun]) -> dict[str, Any]:
    """Return the content of the JSON file."""
    tasks = Tasks.of(plan.split, plan.limit)
    measured = {(run.cell.name, run.seed): _measured(run.folder, tasks) for run in planned}
    seeds = {cell.name: _of_seeds(cell, plan, measured) for cell in plan.cells}
    return {
        "command": command,
        "date": date.today().isoformat(),
        "split": plan.split,
        "seeds": list(plan.seeds),
        "draws": RESAMPLES,
        "tasks": tasks.counts(),
        "missing": list(_missing(planned, measured, len(tasks.templates))),
        **_made(planned),
        "cells": {cell.name: _cell(cell, seeds[cell.name], tasks, planned, timed) for cell in plan.cells},
        "differences": [
            {"first": first, "second": second, **_differences(seeds[first], seeds[second], tasks)}
            for first, second in DIFFERENCES
            if {first, second} <= seeds.keys()
        ],
    }


def seconds(run: CellRun) -> dict[str, float] | None:
    """Return the wall time per task of a timed run, in which all tasks start together; None if it is incomplete."""
    limit = next(int(word.split("=")[1]) for word in run.options if word.startswith("limit="))
    lines = read_results(run.folder)
    if len(lines) < limit or any(map(is_internal, lines)):
        return None
    return {"value": max(line["seconds"] for line in lines) / len(lines), "tasks": len(lines)}


def _measured(folder: Path, tasks: Tasks) -> Measured:
    """Return the measurements of the tasks in a folder. A task with an internal error is unsolved, without amounts."""
    found: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for line in read_results(folder, tasks.templates):
        task, each = line["task_id"], line["metrics"]
        numbers = {"success": line["success"] is True, "scep": each["scep"]}
        if not is_internal(line):
            numbers["tokens"] = each["tokens_in"] + each["tokens_out"]
            numbers |= {name: each[name] for name in ("prm_tokens", "tool_calls")}
        for name, number in numbers.items():
            found[name][task] = float(number)
    return found


def _of_seeds(cell: Cell, plan: Plan, measured: Mapping[tuple[str, int], Measured]) -> dict[int, Measured]:
    """Return the measurements of a cell by seed; a deterministic cell has the same ones for every seed."""
    return {seed: measured[cell.name, seed if cell.sampled else plan.seeds[0]] for seed in plan.seeds}


def _cell(
    cell: Cell, seeds: Mapping[int, Measured], tasks: Tasks, planned: Sequence[CellRun], timed: Sequence[CellRun]
) -> dict[str, Any]:
    folders = [run.folder for run in planned if run.cell == cell and run.folder.is_dir()]
    return {
        "options": " ".join(cell.words),
        "runs": [folder.name for folder in folders],
        "failed": sum(_failed(folder, tasks) for folder in folders),
        "seconds": next((seconds(run) for run in timed if run.cell == cell), None),
        **{name: tasks.estimates(average_runs(found[name] for found in seeds.values())) for name in METRICS},
    }


def _differences(first: Mapping[int, Measured], second: Mapping[int, Measured], tasks: Tasks) -> dict[str, Any]:
    return {
        name: tasks.estimates(compute_differences((first[seed][name], second[seed][name]) for seed in first))
        for name in COMPARED
    }


def _missing(planned: Sequence[CellRun], measured: Mapping[tuple[str, int], Measured], asked: int) -> Iterator[str]:
    for run in planned:
        if (done := len(measured[run.cell.name, run.seed]["success"])) < asked:
            yield f"{run.name}: {done} of {asked} tasks"


def _failed(folder: Path, tasks: Tasks) -> int:
    """Return the tasks with an internal error."""
    return sum(map(is_internal, read_results(folder, tasks.templates)))


def _made(planned: Sequence[CellRun]) -> dict[str, Any]:
    """Return the checksums and the model settings from the available folders."""
    checksums: dict[str, str] = {}
    models: dict[str, Any] = {}
    for run in planned:
        if (run.folder / "config.yaml").is_file():
            checksums |= read_checksums(run.folder)
            settings = read_settings(run.folder)
            for group, told in (("policy", run.cell.sampled), ("prm", run.cell.judged)):
                if told:
                    models[group] = {name: value for name, value in settings[group].items() if name not in NOT_KEPT}
    return {"made_from": checksums, **models}
