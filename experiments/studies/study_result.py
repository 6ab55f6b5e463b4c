"""Collect the results of a study as plain data from the journals of the run folders.

Finished tasks count, and missing ones are listed. A task is `unseen` if no train task has its template.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

from equal_compute import compare_at_equal_compute
from study import Cell, CellRun, Plan
from subsampling import measure_subsets

from codetool.benchmarks import tmdb_verified
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.intervals import RESAMPLES
from codetool.evaluation.paired_comparison import TaskValues, average_runs, compute_differences, estimate_mean
from codetool.evaluation.result_files import read_results
from codetool.evaluation.significance import compute_widened_tail
from codetool.stages.report import read_checksums, read_settings

AMOUNTS = ("policy_tokens", "prm_tokens", "tokens", "tool_calls")
METRICS = ("success", "scep", *AMOUNTS)
"""Metrics of a task. `policy_tokens` are read and written; `tokens` are those of policy and PRM together."""
COMPARED = ("success", "scep")
NOT_KEPT = ("prompt", "path", "weights_wheel", "base_url")
"""Settings that stand in the repository, or that name places of one machine."""

Measured = Mapping[str, Mapping[str, float]]
"""A number for each task, by metric."""


@dataclass(frozen=True)
class Tasks:
    """Tasks of the study."""

    templates: Mapping[str, str]
    """Each task's template, in the order of the benchmark."""
    groups: Mapping[str, Sequence[str]]
    """Ids of `all` tasks, of those with a template `seen` in train, and of the `unseen` others."""

    @classmethod
    def select(cls, split: str, limit: int | None) -> Self:
        """Return the first tasks of a split, at most `limit`."""
        rows = [(row["id"].split("-")[0], row["id"], row["template"]) for row in tmdb_verified.load_all_rows()]
        trained = {template for row_split, _, template in rows if row_split == "train"}
        templates = dict([(task, template) for row_split, task, template in rows if row_split == split][:limit])
        seen = [task for task in templates if templates[task] in trained]
        unseen = [task for task in templates if templates[task] not in trained]
        return cls(templates, {"all": list(templates), "seen": seen, "unseen": unseen})

    def count(self) -> dict[str, dict[str, int]]:
        """Return the number of tasks and templates in each group."""
        return {
            group: {"tasks": len(ids), "templates": len({self.templates[task] for task in ids})}
            for group, ids in self.groups.items()
        }

    def estimate(self, values: TaskValues) -> dict[str, dict[str, Any] | None]:
        """Return the mean of the available values with its intervals, for each group."""
        estimates = {}
        for group, ids in self.groups.items():
            of_group = {task: values[task] for task in ids if task in values}
            found = estimate_mean(of_group, self.templates, tail=compute_widened_tail)
            estimates[group] = asdict(found) if found else None
        return estimates


def collect_result(command: str, plan: Plan, planned: Sequence[CellRun], timed: Sequence[CellRun]) -> dict[str, Any]:
    """Return the content of the JSON file."""
    tasks = Tasks.select(plan.split, plan.limit)
    measured = {(run.name, run.seed): _measure(run.folder, tasks) for run in planned}
    measured |= _measure_subsamples(plan, planned, tasks)
    by_seed = {name: _select_seeds(name, cell, plan, measured) for name, cell in plan.chosen.items()}
    content = {
        "question": plan.study.question,
        "command": command,
        "date": date.today().isoformat(),
        "split": plan.split,
        "seeds": list(plan.seeds),
        "draws": RESAMPLES,
        "tasks": tasks.count(),
        "missing": list(_list_missing(planned, measured, len(tasks.templates))),
        **_describe_origin(planned),
        "cells": {
            name: _describe_cell(name, cell, by_seed[name], tasks, planned, timed) for name, cell in plan.chosen.items()
        },
        "differences": [
            {"first": first, "second": second, **_compare(by_seed[first], by_seed[second], tasks)}
            for first, second in plan.study.differences
            if {first, second} <= by_seed.keys()
        ],
    }
    if plan.study.equal_compute is not None:
        means = {name: {m: average_runs(found[m] for found in seeds.values()) for m in METRICS}
                 for name, seeds in by_seed.items()}  # fmt: skip
        curve = [name for name in plan.study.curves[plan.study.equal_compute] if name in means]
        content["equal_compute"] = compare_at_equal_compute(means, curve, tasks.estimate)
    return content


def measure_seconds(run: CellRun) -> dict[str, float] | None:
    """Return the wall time per task of a timed run, in which all tasks start together; None if it is incomplete."""
    limit = next(int(option.split("=")[1]) for option in run.options if option.startswith("limit="))
    lines = read_results(run.folder)
    if len(lines) < limit or any(map(is_internal, lines)):
        return None
    return {"value": max(line["seconds"] for line in lines) / len(lines), "tasks": len(lines)}


def _measure(folder: Path, tasks: Tasks) -> Measured:
    """Return the measurements of the tasks in a folder. A task with an internal error is unsolved, without amounts."""
    found: dict[str, dict[str, float]] = {name: {} for name in METRICS}
    for line in read_results(folder, tasks.templates):
        task, metrics = line["task_id"], line["metrics"]
        numbers = {"success": line["success"] is True, "scep": metrics["scep"]}
        if not is_internal(line):
            numbers["policy_tokens"] = metrics["tokens_in"] + metrics["tokens_out"]
            numbers |= {name: metrics[name] for name in ("prm_tokens", "tool_calls")}
            numbers["tokens"] = numbers["policy_tokens"] + numbers["prm_tokens"]
        for name, number in numbers.items():
            found[name][task] = float(number)
    return found


def _measure_subsamples(plan: Plan, planned: Sequence[CellRun], tasks: Tasks) -> dict[tuple[str, int], Measured]:
    """Return the measurements of the cells that read the chains of another cell's runs."""
    measured: dict[tuple[str, int], Measured] = {}
    for name, cell in plan.chosen.items():
        for run in planned:
            if cell.subsample and run.name == cell.subsample.cell:
                found = measure_subsets(run.folder, cell.subsample)
                measured[name, run.seed] = {
                    metric: {task: found[task][metric] for task in tasks.templates if metric in found.get(task, {})}
                    for metric in METRICS
                }
    return measured


def _select_seeds(
    name: str, cell: Cell, plan: Plan, measured: Mapping[tuple[str, int], Measured]
) -> dict[int, Measured]:
    """Return the measurements of a cell by seed; a deterministic cell has the same ones for every seed."""
    return {seed: measured[name, seed if cell.sampled else plan.seeds[0]] for seed in plan.seeds}


def _describe_cell(
    name: str,
    cell: Cell,
    by_seed: Mapping[int, Measured],
    tasks: Tasks,
    planned: Sequence[CellRun],
    timed: Sequence[CellRun],
) -> dict[str, Any]:
    source = cell.subsample.cell if cell.subsample else name
    folders = [run.folder for run in planned if run.name == source and run.folder.is_dir()]
    return {
        "options": " ".join(cell.options),
        **({"subsample": cell.subsample.model_dump(exclude_none=True)} if cell.subsample else {}),
        "runs": [folder.name for folder in folders],
        "failed": sum(_count_failed(folder, tasks) for folder in folders),
        "seconds": next((measure_seconds(run) for run in timed if run.name == name), None),
        **{metric: tasks.estimate(average_runs(found[metric] for found in by_seed.values())) for metric in METRICS},
    }


def _compare(first: Mapping[int, Measured], second: Mapping[int, Measured], tasks: Tasks) -> dict[str, Any]:
    return {
        name: tasks.estimate(compute_differences((first[seed][name], second[seed][name]) for seed in first))
        for name in COMPARED
    }


def _list_missing(
    planned: Sequence[CellRun], measured: Mapping[tuple[str, int], Measured], asked: int
) -> Iterator[str]:
    for run in planned:
        if (done := len(measured[run.name, run.seed]["success"])) < asked:
            yield f"{run.label}: {done} of {asked} tasks"


def _count_failed(folder: Path, tasks: Tasks) -> int:
    """Return the number of tasks with an internal error."""
    return sum(map(is_internal, read_results(folder, tasks.templates)))


def _describe_origin(planned: Sequence[CellRun]) -> dict[str, Any]:
    """Return the checksums and the model settings from the available folders."""
    checksums: dict[str, str] = {}
    models: dict[str, Any] = {}
    for run in planned:
        if (run.folder / "config.yaml").is_file():
            checksums |= read_checksums(run.folder)
            settings = read_settings(run.folder)
            for group, is_described in (("policy", run.cell.sampled), ("prm", run.cell.uses_prm)):
                if is_described:
                    models[group] = {name: value for name, value in settings[group].items() if name not in NOT_KEPT}
    return {"made_from": checksums, **models}
