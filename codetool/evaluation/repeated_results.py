"""Statistics of repeats: what several searches of the same task say about that task.

The repeats of a task are correlated, so a task counts once: by the mean over its repeats, and in pass@k and pass^k by
how many of them succeed.

Sources: pass@k is the unbiased estimator of Chen et al. 2021 (https://arxiv.org/abs/2107.03374, equation 1), and pass^k
that of Yao et al. 2024 (https://arxiv.org/abs/2406.12045, section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import comb

TaskValue = tuple[str | None, float]
"""Id of a task and a value of it; a task without a result has the id None."""


def average_repeats(values: Iterable[TaskValue]) -> list[TaskValue]:
    """Return each task's mean over its repeats, in the order of their first values. Tasks without an id are kept."""
    return [(task, sum(repeats) / len(repeats)) for task, repeats in _group_by_task(values)]


def estimate_pass_at(n: int, successes: int, k: int) -> float:
    """Return the probability that at least one of k repeats succeeds, from `successes` among n repeats, k <= n."""
    return 1.0 - comb(n - successes, k) / comb(n, k)


def estimate_pass_all(n: int, successes: int, k: int) -> float:
    """Return the probability that all of k repeats succeed, from `successes` among n repeats, k <= n."""
    return comb(successes, k) / comb(n, k)


def compute_pass_metrics(values: Sequence[TaskValue]) -> dict[str, list[TaskValue]]:
    """Return pass@k and pass^k of each task by metric; `values` has a 1 or 0 for each repeat.

    k is 2, 4, 8 and so on up to the number of repeats, and that number; of a task with fewer repeats, all are used.
    Empty if no task has two repeats.
    """
    repeats = _group_by_task(values)
    counts = [(task, len(of_task), round(sum(of_task))) for task, of_task in repeats]
    ks = list_ks(max((n for _, n, _ in counts), default=0))
    by_metric: dict[str, list[TaskValue]] = {}
    for name, estimate in (("pass@", estimate_pass_at), ("pass^", estimate_pass_all)):
        for k in ks:
            by_metric[f"{name}{k}"] = [(task, estimate(n, successes, min(k, n))) for task, n, successes in counts]
    return by_metric


def list_ks(repeats: int) -> list[int]:
    """Return the powers of two from 2 to `repeats`, and `repeats`; empty for fewer than 2."""
    powers = [2**power for power in range(1, repeats.bit_length()) if 2**power <= repeats]
    return sorted({*powers, repeats}) if repeats > 1 else []


def list_missing_tasks(present: Iterable[str], originals: Mapping[str, str], missing: int) -> list[str | None]:
    """Return the id of the task of each missing repeat; None for those about which `originals` says nothing.

    `originals` gives the task of each requested repeat, and `present` are the repeats with a result.
    """
    known = {*present}
    tasks: list[str | None] = [task for repeat, task in originals.items() if repeat not in known]
    return [*tasks, *[None] * missing][:missing]


def _group_by_task(values: Iterable[TaskValue]) -> list[tuple[str | None, list[float]]]:
    """Return the values of each task. A value without a task is alone."""
    groups: dict[object, tuple[str | None, list[float]]] = {}
    for number, (task, value) in enumerate(values):
        groups.setdefault(task if task is not None else (number,), (task, []))[1].append(value)
    return list(groups.values())
