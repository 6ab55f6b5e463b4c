"""What the report's file holds; `test_report_browser` opens it."""

from __future__ import annotations

import base64
import hashlib
import re

from report_data import data
from report_world import ABOUT, HOSTILE, LINES, TASKS, TREES, call, hostile, html, line, node, tree

from codetool.evaluation.html_report import render_page
from codetool.evaluation.summary import summarize_results


def test_it_holds_every_line_with_what_the_task_knows_beyond_it():
    found = data(html())["lines"]
    assert [row["task_id"] for row in found] == ["t1", "t2", "t3", "t4", "t5"]
    assert found[0]["expected"] == {"type": "list", "value": ["A", "B"]}
    assert (found[0]["gold"], found[0]["template"]) == (["GET /search", "GET /film/{id}"], "films")
    assert (found[2]["expected"], found[2]["gold"], found[2]["template"]) == (None, [], None)
    assert found[2]["error"] == LINES[2]["error"]


def test_it_holds_the_trees_of_its_lines_and_no_others():
    found = data(html())
    assert {name for name in found if name.startswith("tree-")} == {"tree-0", "tree-1", "tree-2", "tree-4"}
    assert found["tree-1"] == TREES[1]


def test_it_counts_tool_calls_by_who_answered_and_by_effect():
    run = data(html())["run"]
    found = {(each["provenance"], each["effect"]): (each["calls"], each["failed"]) for each in run["calls"]}
    assert found == {("replica", "read"): (4, 0), ("live", "write"): (4, 0), (None, "read"): (4, 4)}
    assert run["nodes"] == 16
    assert sum(each["seconds"] for each in run["calls"]) == 12 * call("live")["seconds"]


def test_it_holds_the_metrics_and_what_made_the_run():
    run = data(html(asked=7))["run"]
    assert run["metrics"]["metrics"]["success"].keys() >= {"value", "low", "high", "template_low"}
    assert run["metrics"]["tasks"]["missing"] == 2
    assert (run["config"], run["made_from"], run["confined"]) == (
        ABOUT.config,
        ABOUT.made_from,
        list(ABOUT.sandbox_layers),
    )


def test_no_text_of_others_becomes_markup_and_none_is_lost():
    row, grown = hostile()
    text = html([row], [grown])
    assert "window.broken" not in text and "onerror" not in text
    found = data(text)
    assert found["lines"][0]["answer"] == HOSTILE
    assert found["tree-0"]["nodes"][0]["code"] == HOSTILE
    assert "<title>films-beam-&lt;b&gt;&amp;</title>" in text


def test_only_its_own_script_may_run_and_nothing_may_be_loaded():
    text = html()
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assert "http://" not in text and "https://" not in text


def test_figures_that_are_no_numbers_do_not_break_its_json():
    text = html([line("t1", True)], [{"task_id": "t1", "nodes": [node("1", "0", latent=float("nan"))]}])
    assert data(text)["tree-0"]["nodes"][0]["latent"] == "nan"


def test_trees_are_read_one_at_a_time():
    alive = []

    def trees():
        for row in LINES:
            alive.append(row["task_id"])
            yield tree(row["task_id"])

    parts = render_page(ABOUT, summarize_results(LINES, 5, seed=0), LINES, trees(), TASKS)
    seen = b""
    while b"tree-1" not in seen:
        seen += next(parts)
    assert alive == ["t1", "t2"]


def test_a_run_without_any_result_has_a_report():
    found = data(html([], [], asked=3))
    assert found["lines"] == [] and found["run"]["metrics"]["tasks"]["missing"] == 3
