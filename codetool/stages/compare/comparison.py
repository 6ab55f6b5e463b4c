"""Compare each system with the baseline: all metrics, groups, templates and difficulty, and who solves which task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from codetool.errors import ConfigError
from codetool.evaluation.metrics import is_share
from codetool.evaluation.paired_comparison import (
    MeanEstimate,
    PairedDifference,
    TaskValues,
    compare_systems,
    correct_p_values,
    estimate_mean,
)
from codetool.evaluation.result_files import natural_sort_key
from codetool.evaluation.significance import compute_widened_tail
from codetool.stages.compare.systems import System, choose_headline, list_metrics
from codetool.types import Task

GOLD_CALLS, SOLVED_SHARE, TEMPLATE = "gold calls", "solved by", "template"


@dataclass(frozen=True)
class Part:
    """A part of the tasks and the difference on it."""

    kind: str
    """`group`, `template`, or the kind of difficulty."""
    name: str
    difference: PairedDifference


@dataclass(frozen=True)
class SolvedTask:
    """A task that one system solves more often than the other."""

    task_id: str
    first: float
    """Share of its searches in which the first system solves the task."""
    second: float


@dataclass(frozen=True)
class PairComparison:
    """A system compared with the baseline."""

    system: System
    baseline: System
    differences: Mapping[str, PairedDifference]
    """Difference of each metric that both have."""
    parts: Sequence[Part]
    """Differences of the compared metric on parts of the tasks."""
    gained: Sequence[SolvedTask]
    """Tasks that the system solves more often than the baseline, the largest difference first."""
    lost: Sequence[SolvedTask]
    """Tasks that the baseline solves more often."""
    notes: Sequence[str]

    @property
    def is_all_or_none(self) -> bool:
        """Whether each of these tasks is solved in all searches of one system, and in none of the other."""
        return all({task.first, task.second} == {0.0, 1.0} for task in (*self.gained, *self.lost))


@dataclass(frozen=True)
class Comparison:
    """All systems compared with the baseline."""

    metric: str
    """The metric by which systems are compared first."""
    systems: Sequence[System]
    baseline: System
    pairs: Sequence[PairComparison]
    tasks: Mapping[str, Task]
    """Tasks by id, as far as the benchmark could be loaded."""
    estimates: Mapping[str, Mapping[str, MeanEstimate]]
    """Mean of each metric over all tasks of a system, by label; the compared metric has intervals."""
    notes: Sequence[str]


def compare_all(systems: Sequence[System], baseline: System, seed: int) -> Comparison:
    """Compare every other system with the baseline. Raises ConfigError if they have no task in common."""
    metric = choose_headline(systems)
    tasks = {task_id: task for each in systems for run in each.runs for task_id, task in run.tasks.items()}
    templates = {task_id: task.template for task_id, task in tasks.items()}
    solved = [system.measure(metric) for system in systems]
    split = _choose_difficulty(tasks, solved)
    others = [system for system in systems if system is not baseline]
    made = [_compare_pair(system, baseline, metric, tasks, split, seed) for system in others]
    names = list(dict.fromkeys(name for pair in made for name in pair.differences))
    return Comparison(
        metric=metric,
        systems=systems,
        baseline=baseline,
        pairs=_correct_all(made, names),
        tasks=tasks,
        estimates={system.label: _estimate_all(system, metric, templates, seed) for system in systems},
        notes=list(dict.fromkeys(_describe_sources(systems))),
    )


def _compare_pair(
    system: System, baseline: System, metric: str, tasks: Mapping[str, Task], split: Callable[[str], str], seed: int
) -> PairComparison:
    common = system.task_ids & baseline.task_ids
    if not common:
        folders = f"{system.runs[0].folder} and {baseline.runs[0].folder}"
        raise ConfigError(
            f"compare.runs: {folders} have no task in common: the first has {min(system.task_ids)}, the second "
            f"{min(baseline.task_ids)}. Compare runs of the same split and limit."
        )
    templates = {task_id: task.template for task_id, task in tasks.items()}
    differences: dict[str, PairedDifference] = {}
    for name in list_metrics(system, baseline):
        made = compare_systems(system.measure(name), baseline.measure(name), templates, tests=is_share(name), seed=seed)
        differences |= {name: made} if made is not None else {}
    first, second = system.measure(metric), baseline.measure(metric)
    measured = sorted(first.keys() & second.keys(), key=natural_sort_key)
    compared = [SolvedTask(task, first[task], second[task]) for task in measured]
    return PairComparison(
        system,
        baseline,
        differences,
        list(_compare_parts(first, second, tasks, split, seed)),
        sorted((each for each in compared if each.first > each.second), key=lambda each: each.second - each.first),
        sorted((each for each in compared if each.first < each.second), key=lambda each: each.first - each.second),
        list(_describe_common_tasks(system, baseline, len(common))),
    )


def _describe_common_tasks(system: System, baseline: System, common: int) -> Iterator[str]:
    for one, other in ((system, baseline), (baseline, system)):
        if alone := len(one.task_ids - other.task_ids):
            yield (
                f"{alone} of the {len(one.task_ids)} tasks of {one.label} have no result of {other.label}: {common} "
                "tasks are compared"
            )


def _compare_parts(
    first: TaskValues, second: TaskValues, tasks: Mapping[str, Task], split: Callable[[str], str], seed: int
) -> Iterator[Part]:
    """Yield the difference on each group, difficulty and template, if there are at least two of a kind."""
    common = sorted(first.keys() & second.keys(), key=natural_sort_key)
    templates = {task_id: task.template for task_id, task in tasks.items()}
    kind_of_difficulty = GOLD_CALLS if any(task.gold for task in tasks.values()) else SOLVED_SHARE
    kinds: list[tuple[str, Mapping[str, str | None]]] = [
        ("group", {task_id: tasks[task_id].group for task_id in common if task_id in tasks}),
        (kind_of_difficulty, {task_id: split(task_id) for task_id in common}),
        (TEMPLATE, {task_id: templates.get(task_id) for task_id in common}),
    ]
    for kind, names in kinds:
        found = sorted({name for name in names.values() if name is not None}, key=natural_sort_key)
        for name in found if len(found) > 1 else ():
            of_part = {task_id: first[task_id] for task_id in common if names.get(task_id) == name}
            difference = compare_systems(of_part, second, templates, seed=seed)
            if difference is not None:
                yield Part(kind, name, difference)


def _choose_difficulty(tasks: Mapping[str, Task], solved: Sequence[TaskValues]) -> Callable[[str], str]:
    """Return the function that names a task's difficulty.

    It is the number of calls on the gold path; without gold paths, how many of the systems solve the task, at least
    half of its searches. The latter depends on the compared results: tasks that all or none solve show no difference.
    """
    if any(task.gold for task in tasks.values()):
        return lambda task_id: str(len(tasks[task_id].gold)) if task_id in tasks else "?"
    return lambda task_id: f"{sum(values.get(task_id, 0.0) >= 0.5 for values in solved)} of {len(solved)} systems"


def _correct_all(pairs: Sequence[PairComparison], names: Sequence[str]) -> list[PairComparison]:
    """Return the pairs with corrected p-values.

    Those of a metric are corrected for the number of pairs, those of a kind of part for the parts of all pairs.
    """
    corrected: list[dict[str, PairedDifference]] = [{} for _ in pairs]
    for name in names:
        having = [number for number, pair in enumerate(pairs) if name in pair.differences]
        made = correct_p_values([pairs[number].differences[name] for number in having])
        for number, difference in zip(having, made, strict=True):
            corrected[number][name] = difference
    parts = _correct_parts([part for pair in pairs for part in pair.parts])
    return [
        replace(pair, differences=differences, parts=[next(parts) for _ in pair.parts])
        for pair, differences in zip(pairs, corrected, strict=True)
    ]


def _correct_parts(parts: Sequence[Part]) -> Iterator[Part]:
    """Yield the parts of all pairs, in their order, with the p-values of each kind corrected for the number of them."""
    by_kind = {
        kind: iter(correct_p_values([part.difference for part in parts if part.kind == kind]))
        for kind in {part.kind for part in parts}
    }
    for part in parts:
        yield replace(part, difference=next(by_kind[part.kind]))


def _estimate_all(
    system: System, metric: str, templates: Mapping[str, str | None], seed: int
) -> dict[str, MeanEstimate]:
    """Return the mean of every metric; that of the compared one has intervals."""
    estimates: dict[str, MeanEstimate] = {}
    for name in system.metrics:
        values = system.measure(name)
        estimate = MeanEstimate(sum(values.values()) / len(values), None, None, len(values), 0) if values else None
        if name == metric:
            estimate = estimate_mean(values, templates, seed=seed, tail=compute_widened_tail)
        estimates |= {name: estimate} if estimate is not None else {}
    return estimates


def _describe_sources(systems: Sequence[System]) -> Iterator[str]:
    """Yield what a reader has to know about the runs."""
    runs = [run for system in systems for run in system.runs]
    yield from (run.note for run in runs if run.note is not None)
    codes = list(dict.fromkeys(str(code) for run in runs for code in run.provenance.codes))
    if len(codes) > 1:
        yield (
            f"The runs were made by {len(codes)} versions of the code, so that answers may have been checked "
            f"differently: {'; '.join(codes)}. stage=recheck checks stored answers again by the code of now."
        )
    for system in systems:
        if len(system.runs) > 1:
            yield f"{system.label}: mean over the seeds {', '.join(str(run.seed) for run in system.runs)}"
