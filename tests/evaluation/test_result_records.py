"""The lines of `results.jsonl` and `trees.jsonl`."""

import json
from dataclasses import replace

from codetool.evaluation.error_taxonomy import TaskError
from codetool.evaluation.result_records import (
    RESULT_SHAPE,
    TREE_SHAPE,
    build_result_line,
    build_tree_line,
    parse_nodes,
)
from codetool.ledger import Ledger
from codetool.runs.record_shape import find_mismatch
from codetool.types import Execution, Node, SearchResult, Step, Task, Tool, ToolAnswer, ToolCall

TASK = Task("t1", "Who?", ())
TOOL = Tool("POST_rate", "POST", "http://films", "/rate")
CALLS = (
    ToolAnswer(ToolCall("GET", "http://films/a", {"query": "x"}), 200, "THE BODY", "replica", 0.2),
    ToolAnswer(ToolCall("POST", "http://films/rate", {}, TOOL), 201, "THE BODY", "live", 0.3),
    ToolAnswer(ToolCall("DELETE", "http://films/b", {}), 404, "THE BODY", None, 0.0, "miss"),
)
ROOT = Node("0")
FIRST = Node("1", ROOT, 1, Step("look", "print(1)", False), Execution("ok", "1", None, 0.1, CALLS), 1.0, 0.5, 1.5, 2)
OTHER = Node("2", ROOT, 1, Step("think", None, False), Execution("no_code"))
LAST = Node("1-1", FIRST, 2, Step("say", "print('Ann')", True), Execution("ok", "Ann\n"), 1.0, None, 2.5)
RESULT = SearchResult(LAST, (ROOT, FIRST, OTHER, LAST), Ledger(1, 2, 3, 4, 5, None, 2), "tokens")


def test_a_result_line_has_the_fields_of_the_contract():
    line = build_result_line(TASK, RESULT, True, {"scep": 1.0}, 1.25)
    assert find_mismatch(line, RESULT_SHAPE) is None
    zeros = {name: amount for name, amount in line["ledger"].items() if not amount}
    line["ledger"] = {name: amount for name, amount in line["ledger"].items() if amount}
    assert set(zeros.values()) == {0, None} and {name for name in zeros if zeros[name] is None} == {"usd", "flops"}
    assert line == {
        "task_id": "t1",
        "query": "Who?",
        "answer": "Ann",
        "success": True,
        "finished": True,
        "stopped_by": "tokens",
        "path": ["1", "1-1"],
        "metrics": {"scep": 1.0},
        "ledger": {
            "tokens_in": 1,
            "tokens_out": 2,
            "prm_tokens": 3,
            "executions": 4,
            "tool_calls": 5,
            "prm_tokens_computed": 2,
        },
        "error": None,
        "seconds": 1.25,
    }


def test_a_line_written_before_the_ledger_had_all_its_amounts_fits_the_shape():
    line = build_result_line(TASK, RESULT, True, {"scep": 1.0}, 1.25)
    names = ("tokens_in", "tokens_out", "prm_tokens", "prm_tokens_computed", "executions", "tool_calls", "usd")
    old = line | {"ledger": {name: line["ledger"][name] for name in names}}
    assert find_mismatch(old, RESULT_SHAPE) is None
    assert find_mismatch(old | {"ledger": old["ledger"] | {"flops": "many"}}, RESULT_SHAPE) == "ledger.flops"


def test_a_task_without_result_is_a_line_with_its_error():
    line = build_result_line(TASK, None, False, {}, 0.5, TaskError("internal", "SandboxError: broke"))
    assert line["error"] == {"kind": "internal", "message": "SandboxError: broke"}
    assert (line["answer"], line["finished"], line["path"], line["ledger"]["executions"]) == (None, False, [], 0)


def test_an_unfinished_path_has_no_answer():
    line = build_result_line(TASK, SearchResult(FIRST, (ROOT, FIRST), Ledger()), False, {}, 0.5)
    assert (line["answer"], line["finished"], line["path"]) == (None, False, ["1"])


def test_a_tree_line_holds_every_step_and_not_the_root():
    line = build_tree_line(TASK, RESULT)
    assert line["task_id"] == "t1"
    assert [(node["id"], node["parent"]) for node in line["nodes"]] == [("1", "0"), ("2", "0"), ("1-1", "1")]
    assert {key: value for key, value in line["nodes"][0].items() if key != "execution"} == {
        "id": "1",
        "parent": "0",
        "depth": 1,
        "text": "look",
        "code": "print(1)",
        "spot": 1.0,
        "latent": 0.5,
        "cumulative": 1.5,
        "multiplicity": 2,
        "finished": False,
    }


def test_calls_say_where_their_answer_came_from_and_whether_they_wrote():
    execution = build_tree_line(TASK, RESULT)["nodes"][0]["execution"]
    assert execution["calls"][0] == {
        "method": "GET",
        "url": "http://films/a",
        "arguments": {"query": "x"},
        "http_status": 200,
        "provenance": "replica",
        "effect": "read",
        "seconds": 0.2,
    }
    assert [call["effect"] for call in execution["calls"]] == ["read", "write", "write"]


def test_lines_are_json_without_the_answers_bodies():
    text = json.dumps([build_tree_line(TASK, RESULT), build_result_line(TASK, RESULT, None, {}, 0.0)])
    assert "THE BODY" not in text


def test_a_tree_is_read_back_as_it_was_written():
    line = build_tree_line(TASK, RESULT)
    nodes = parse_nodes(json.loads(json.dumps(line)))
    assert nodes[0] == ROOT
    assert build_tree_line(TASK, SearchResult(nodes[-1], nodes, Ledger())) == line
    assert [node.id for node in nodes[-1].path] == ["1", "1-1"]


def test_what_the_policy_told_of_a_step_is_kept_and_may_be_absent():
    told = replace(FIRST, log_probability=-3.5, tokens_out=12)
    line = build_tree_line(TASK, SearchResult(told, (ROOT, told, OTHER), Ledger()))
    assert [(node.get("log_probability"), node.get("tokens_out")) for node in line["nodes"]] == [
        (-3.5, 12),
        (None, None),
    ]
    assert "log_probability" not in line["nodes"][1] and "tokens_out" not in line["nodes"][1]
    assert find_mismatch(json.loads(json.dumps(line)), TREE_SHAPE) is None
    _, first, other = parse_nodes(json.loads(json.dumps(line)))
    assert (first.log_probability, first.tokens_out, other.log_probability, other.tokens_out) == (-3.5, 12, None, None)
