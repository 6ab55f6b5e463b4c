"""Aggregates over a run's result lines."""

import pytest

from codetool.evaluation.summary import encode_summary, summarize_results


def line(name, success=None, error=None, finished=True, kind="internal", **values):
    return {
        "task_id": name,
        "success": success,
        "finished": finished,
        "answer": "x" if finished else None,
        "metrics": {"success": success, "seconds": 1.0} | values,
        "error": {"kind": kind, "message": error} if error else None,
    }


def test_rates_have_wilson_intervals_and_means_have_bootstrap_ones():
    lines = [line(str(place), place < 3, tokens_in=100 * place, prm_tokens=7) for place in range(4)]
    found = summarize_results(lines, 4, seed=0).metrics
    assert found["success"] == pytest.approx({"value": 0.75, "low": 0.3006, "high": 0.9544, "n": 4}, abs=1e-4)
    assert found["tokens_in"]["value"] == 150
    assert found["tokens"]["value"] == 150 + 7  # of lines that do not hold the sum
    assert 0 <= found["tokens_in"]["low"] < 150 < found["tokens_in"]["high"] <= 300


def test_a_task_that_failed_for_our_own_reasons_is_listed_and_counts_as_unsolved():
    lines = [line("a", True, scep=1.0), line("b", None, error="broke", finished=False)]
    found = summarize_results(lines, 2, seed=0)
    assert (found.metrics["success"]["value"], found.metrics["success"]["n"]) == (0.5, 2)
    assert found.metrics["scep"]["value"] == 0.5
    assert [(failure.task_id, failure.message) for failure in found.failures] == [("b", "broke")]


def test_a_task_that_the_policy_got_wrong_is_no_failure_of_ours_and_keeps_its_amounts():
    lines = [line("a", True, seconds=3.0), line("b", False, "x", kind="wrong_tool", seconds=5.0, scep=0.5)]
    found = summarize_results(lines, 2, seed=0)
    assert found.failures == ()
    assert found.metrics["seconds"]["value"] == 4.0
    assert found.metrics["scep"]["n"] == 1


def test_reasons_are_counted_the_most_frequent_first():
    kinds = ["wrong_tool", "internal", "wrong_tool", "budget"]
    lines = [line("solved", True), *(line(str(place), False, "x", kind=kind) for place, kind in enumerate(kinds))]
    found = summarize_results(lines, 5, seed=0)
    assert list(found.errors.items()) == [("wrong_tool", 2), ("budget", 1), ("internal", 1)]
    assert encode_summary(found)["errors"] == {"wrong_tool": 2, "budget": 1, "internal": 1}


def test_internal_failures_are_counted_by_the_type_of_their_exception():
    messages = ["SandboxError: killed", "UnreachableError: no answer", "SandboxError: died", ""]
    lines = [line(str(place), False, text or "?", kind="internal") for place, text in enumerate(messages)]
    found = summarize_results([*lines, line("a", False, "x", kind="budget")], 5, seed=0)
    assert encode_summary(found)["internal"] == {"SandboxError": 2, "Exception": 1, "UnreachableError": 1}


def test_the_denominator_is_all_tasks_asked_for():
    found = summarize_results([line("a", True)], 4, seed=0)
    assert (found.metrics["success"]["value"], found.metrics["success"]["n"], found.missing) == (0.25, 4, 3)


def test_amounts_are_means_over_the_tasks_that_have_a_result():
    lines = [line("a", True, seconds=3.0), line("b", False, error="broke", seconds=90.0)]
    assert summarize_results(lines, 5, seed=0).metrics["seconds"] == {"value": 3.0, "low": None, "high": None, "n": 1}


def test_tasks_without_a_checked_answer_are_left_out_and_counted():
    lines = [line("a", True), line("b", None), line("c", False)]
    found = summarize_results(lines, 3, seed=0)
    assert (found.metrics["success"]["value"], found.metrics["success"]["n"], found.checkable) == (0.5, 2, 2)


def test_without_any_checked_answer_there_is_no_success():
    found = summarize_results([line("a", None, correct_path=True), line("b", None, error="broke")], 2, seed=0)
    assert "success" not in found.metrics
    assert found.checkable == 0
    assert (found.metrics["correct_path"]["value"], found.metrics["correct_path"]["n"]) == (0.5, 2)


def test_no_lines_have_no_metrics():
    found = summarize_results([], 3, seed=0)
    assert (found.metrics, found.missing, found.finished) == ({}, 3, 0)


def test_finished_paths_are_counted():
    assert summarize_results([line("a"), line("b", finished=False)], 2, seed=0).finished == 1


def test_answers_are_counted_apart_from_finished_paths():
    printed_last = line("b", finished=False) | {"answer": "y"}
    empty = line("c") | {"answer": ""}
    summary = summarize_results([line("a"), printed_last, empty, line("d", finished=False)], 4, seed=0)
    assert (summary.finished, summary.answered) == (2, 2)
    assert encode_summary(summary)["tasks"]["answered"] == 2


def test_templates_add_their_own_interval_beside_the_plain_one():
    lines = [line(str(place), place < 10, scep=float(place < 10)) for place in range(20)]
    templates = {str(place): f"template {place // 5}" for place in range(20)}
    found = summarize_results(lines, 20, seed=0, templates=templates).metrics
    plain = summarize_results(lines, 20, seed=0).metrics
    for name in ("success", "scep"):
        assert {key: found[name][key] for key in ("value", "low", "high", "n")} == plain[name]
        assert found[name]["template_low"] < found[name]["low"] < found[name]["high"] < found[name]["template_high"]


def test_order_of_lines_changes_no_value():
    lines = [line(str(place), place % 3 == 0) for place in range(9)]
    assert (
        summarize_results(lines, 9, seed=0).metrics["success"]
        == summarize_results(lines[::-1], 9, seed=0).metrics["success"]
    )


def test_groups_stand_in_the_order_of_their_first_tasks_and_tasks_without_one_make_none():
    lines = [line(name, True) for name in "abcd"]
    summary = summarize_results(lines, 4, seed=0, groups={"a": "G2", "b": None, "c": "G1", "d": "G2"})
    assert list(summary.groups) == ["G2", "G1"]
    assert summarize_results(lines[:2], 2, seed=0, groups={"a": "G2", "b": None}).groups == {}


def test_a_share_of_the_tree_is_a_mean_over_the_tasks_that_have_a_tree():
    lines = [line("a", True, duplicates=0.5), line("b", True, duplicates=0.25), line("c", None, error="broke")]
    found = summarize_results(lines, 4, seed=0).metrics["duplicates"]
    assert (found["value"], found["n"]) == (0.375, 2)
