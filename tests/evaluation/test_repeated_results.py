"""Repeats of tasks: their names, pass@k and pass^k by counting, and intervals that draw whole tasks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from codetool.errors import ConfigError
from codetool.evaluation.intervals import bootstrap_mean
from codetool.evaluation.repeated_results import average_repeats, compute_pass_metrics, list_ks
from codetool.evaluation.summary import encode_summary, summarize_results
from codetool.runs.repeats import find_task_id, get_original, map_to_originals, name_repeat, repeat_tasks
from codetool.types import Task


def line(task: str, success: bool | None, repeat: int = 1, kind: str | None = None, **values: Any) -> dict[str, Any]:
    name = task if repeat == 1 else f"{task}#{repeat}"
    return {
        "task_id": name, **({"repeat": repeat} if repeat > 1 else {}), "finished": True, "answer": "x",
        "metrics": {"success": success, "seconds": 1.0} | values,
        "error": {"kind": kind, "message": "broke"} if kind else None,
    }  # fmt: skip


def make_lines(outcomes: dict[str, str]) -> list[dict[str, Any]]:
    """Lines of tasks whose repeats succeed (1) or not (0), in order."""
    return [line(task, each == "1", k) for task, each_of in outcomes.items() for k, each in enumerate(each_of, 1)]


def ask(outcomes: dict[str, str], repeats: int) -> dict[str, str]:
    return map_to_originals(repeat_tasks([Task(name, "", ()) for name in outcomes], repeats))


@pytest.mark.parametrize("outcomes", ["1010", "0000", "1111", "10000", "0001"])
def test_pass_metrics_are_what_all_subsets_of_the_repeats_give(outcomes: str) -> None:
    metrics = compute_pass_metrics([("t", float(each)) for each in outcomes])
    for k in list_ks(len(outcomes)):
        subsets = list(combinations(outcomes, k))
        any_of = sum("1" in subset for subset in subsets) / len(subsets)
        all_of = sum("0" not in subset for subset in subsets) / len(subsets)
        assert metrics[f"pass@{k}"] == [("t", pytest.approx(any_of))]
        assert metrics[f"pass^{k}"] == [("t", pytest.approx(all_of))]


def test_the_numbers_of_repeats_are_powers_of_two_and_all_of_them() -> None:
    assert [list_ks(n) for n in (1, 2, 3, 8, 10)] == [[], [2], [2, 3], [2, 4, 8], [2, 4, 8, 10]]


def test_a_task_counts_once_and_its_interval_draws_whole_tasks() -> None:
    outcomes = {"a": "11", "b": "10", "c": "00", "d": "01"}
    made = summarize_results(make_lines(outcomes), 8, seed=0, originals=ask(outcomes, 2))
    success = made.metrics["success"]
    assert (success["value"], success["n"]) == (0.5, 4)
    assert (success["low"], success["high"]) == bootstrap_mean([1.0, 0.5, 0.0, 0.5], seed=0)
    assert (made.metrics["pass@2"]["value"], made.metrics["pass^2"]["value"]) == (0.75, 0.25)
    assert (made.asked, made.checkable, made.repeats) == (8, 8, 2)
    assert list(made.metrics)[:3] == ["success", "pass@2", "pass^2"]
    assert encode_summary(made)["tasks"]["repeats"] == 2  # type: ignore[index]


def test_missing_and_failed_repeats_count_as_unsolved_in_their_own_task() -> None:
    outcomes = {"a": "11", "b": "1"}
    lines = [*make_lines(outcomes), line("c", None, kind="internal")]
    made = summarize_results(lines, 6, seed=0, originals=ask({**outcomes, "c": ""}, 2))
    assert (made.metrics["success"]["value"], made.metrics["success"]["n"], made.missing) == (0.5, 3, 2)
    assert made.metrics["pass@2"]["value"] == pytest.approx(2 / 3)
    assert made.metrics["pass^2"]["value"] == pytest.approx(1 / 3)
    assert made.metrics["seconds"]["n"] == 2


def test_a_run_without_repeats_is_summarized_as_ever() -> None:
    lines = make_lines({"a": "1", "b": "0", "c": "1"})
    assert summarize_results(lines, 4, seed=0) == summarize_results(
        lines, 4, seed=0, originals=ask(dict.fromkeys("abcd", ""), 1)
    )
    assert "repeats" not in encode_summary(summarize_results(lines, 4, seed=0))["tasks"]  # type: ignore[operator]


def test_groups_have_pass_metrics_of_their_own() -> None:
    outcomes = {"a": "11", "b": "10", "c": "00"}
    originals = ask(outcomes, 2)
    groups = {repeat: "easy" if task in "ab" else "hard" for repeat, task in originals.items()}
    made = summarize_results(make_lines(outcomes), 6, seed=0, groups=groups, originals=originals)
    assert (made.groups["easy"].metrics["pass^2"]["value"], made.groups["hard"].metrics["pass@2"]["value"]) == (0.5, 0)


def test_repeats_have_ids_of_their_own_and_the_first_is_the_task_itself() -> None:
    task = Task("a", "?", ())
    first, second = repeat_tasks([task], 2)
    assert first is task and (second.id, second.repeat) == ("a#2", 2) and get_original(second) == task
    assert find_task_id({"task_id": "a#2", "repeat": 2}) == "a" and find_task_id({"task_id": "a#2"}) == "a#2"
    assert name_repeat("a#12", {"a#12": "a"}) == {"task_id": "a#12", "repeat": 12}
    assert name_repeat("a#12", {}) == {"task_id": "a#12"}


def test_a_benchmark_whose_ids_look_like_repeats_is_refused_only_with_repeats() -> None:
    tasks = [Task("a", "", ()), Task("a#2", "", ())]
    assert len(repeat_tasks(tasks, 1)) == 2
    with pytest.raises(ConfigError, match=r"repeats=2: the benchmark has a task 'a#2'.*repeats=1"):
        repeat_tasks(tasks, 2)


def test_values_without_a_task_stay_apart() -> None:
    assert average_repeats([("a", 1.0), (None, 0.0), ("a", 0.0), (None, 0.0)]) == [("a", 0.5), (None, 0.0), (None, 0.0)]
