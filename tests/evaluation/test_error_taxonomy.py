"""Why tasks were not solved, judged from the chosen path."""

from dataclasses import replace

import pytest

from codetool.errors import SandboxError
from codetool.evaluation.error_taxonomy import TaskError, classify_error, is_internal, make_internal_error
from codetool.ledger import Ledger
from codetool.types import Answer, Execution, Node, SearchResult, Step, Task, Tool, ToolAnswer, ToolCall

SERVER = "https://films.test/3"
SEARCH = Tool("search", "GET", SERVER, "/search/movie")
CREDITS = Tool("credits", "GET", SERVER, "/movie/{movie_id}/credits")
TOP = Tool("top", "GET", SERVER, "/movie/top_rated")
TASK = Task(
    "t",
    "Who directed The Dark Knight?",
    (SEARCH, CREDITS, TOP),
    gold=(SEARCH.endpoint, CREDITS.endpoint),
    gold_calls=("GET /search/movie?query=The+Dark+Knight", "GET /movie/155/credits"),
    answer=Answer("name", "Christopher Nolan"),
)


def search(query, **more):
    return answered(ToolCall("GET", f"{SERVER}/search/movie", {"query": query, **more}, SEARCH))


def credits(movie, status=200, body="{}"):
    call = ToolCall("GET", f"{SERVER}/movie/{movie}/credits", {"movie_id": str(movie)}, CREDITS)
    return answered(call, status, body)


def answered(call, status=200, body="{}"):
    return ToolAnswer(call, status, body, "replica")


def step(code="x", *, text="s", finished=False, status="ok", printed="", error=None, calls=()):
    return Step(text, code, finished), Execution(status, printed, error, calls=tuple(calls))


def result(*steps, stopped_by=None):
    node = Node("0")
    for number, (one, execution) in enumerate(steps, 1):
        node = Node(f"{number}", node, number, one, execution, spot=float(execution.status == "ok"))
    return SearchResult(node, node.path, Ledger(), stopped_by)


def kind(*steps, success=False, stopped_by=None, task=TASK):
    error = classify_error(task, result(*steps, stopped_by=stopped_by), success)
    return error and error.kind


GOOD = step(calls=(search("The Dark Knight"), credits(155)))
WRONG = step(finished=True, printed="Nobody")


def test_a_solved_task_has_none_whatever_happened_on_the_way():
    assert kind(step(status="exception", error="KeyError: 'x'"), WRONG, success=True) is None


def test_a_failure_of_ours_names_the_type():
    assert make_internal_error(SandboxError("broke\nhere")) == TaskError("internal", "SandboxError: broke here")


def test_only_failures_of_ours_are_ours():
    assert is_internal({"error": {"kind": "internal", "message": ""}})
    assert not is_internal({"error": {"kind": "wrong_answer", "message": ""}})
    assert not is_internal({"error": None})


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (step(None, text="I would rather not.", status="no_code"), "no_code"),
        (step(status="exception", error="SyntaxError: '(' was never closed (line 1: print()"), "syntax"),
        (step(status="exception", error="IndentationError: unexpected indent (line 1: x)"), "syntax"),
        (step(status="exception", error="KeyError: 'crew' (line 2: x['crew'])"), "exception:KeyError"),
        (step(status="exception", error="HTTPError"), "exception:HTTPError"),
        (step(status="timeout", error="the step ran longer than its limit"), "exception:TimeLimit"),
        (step(status="killed", error="the interpreter died"), "exception:Killed"),
        (step(status="tool_failed", calls=[credits(0, 404)]), "tool_error"),
        (step(), "unfinished"),
    ],
)
def test_the_end_of_an_unfinished_path_is_judged(end, expected):
    assert kind(GOOD, end) == kind(GOOD, end, success=None) == expected


def test_a_finished_path_may_end_in_a_failure_too():
    end = step(finished=True, status="exception", error="KeyError: 'crew'")
    assert kind(GOOD, end) == kind(GOOD, end, success=None) == "exception:KeyError"


def test_a_failure_that_the_path_recovered_from_does_not_count():
    assert kind(step(status="exception", error="KeyError: 'x'"), GOOD, WRONG) == "wrong_answer"


def test_a_spent_budget_comes_before_the_failure_of_the_last_step():
    failed = step(status="exception", error="KeyError: 'x'")
    error = classify_error(TASK, result(failed, stopped_by="tokens"), False)
    assert error == TaskError("budget", "the budget of tokens was spent after 1 step, before an answer")


def test_a_budget_that_struck_after_the_path_was_finished_is_not_to_blame():
    assert kind(GOOD, WRONG, stopped_by="tokens") == "wrong_answer"


def test_an_answer_taken_from_an_unfinished_path_is_classified_as_an_answer():
    found = replace(result(GOOD), composed="Nobody")
    assert classify_error(TASK, found, False).kind == "wrong_answer"
    assert classify_error(TASK, found, None) is None


def test_no_step_at_all_is_unfinished():
    assert classify_error(TASK, SearchResult(Node("0"), (), Ledger()), False).kind == "unfinished"


def test_an_endpoint_of_the_gold_path_that_was_never_called_is_named():
    error = classify_error(TASK, result(step(calls=[search("The Dark Knight")]), WRONG), False)
    assert error.kind == "wrong_tool"
    assert error.message == "never called GET /movie/{movie_id}/credits; called GET /search/movie"


def test_a_call_with_another_argument_is_shown_against_the_expected_one():
    error = classify_error(TASK, result(step(calls=[search("The Dark Knight"), credits(49026)]), WRONG), False)
    assert error.kind == "wrong_argument"
    assert error.message == "never called GET /movie/155/credits; called GET /movie/49026/credits"


@pytest.mark.parametrize("query", ["dark knight", "the dark knight", "The Dark Knigth"])
def test_a_search_text_that_is_spelled_otherwise_is_the_same_call(query):
    assert kind(step(calls=[search(query), credits(155)]), WRONG) == "wrong_answer"


def test_another_search_text_is_a_wrong_argument():
    assert kind(step(calls=[search("Batman Begins"), credits(155)]), WRONG) == "wrong_argument"


def test_further_arguments_do_no_harm_but_another_page_is_another_call():
    fine = search("The Dark Knight", language="en-US", page=1)
    assert kind(step(calls=[fine, credits(155)]), WRONG) == "wrong_answer"
    other = search("The Dark Knight", page=2)
    assert kind(step(calls=[other, credits(155)]), WRONG) == "wrong_argument"


@pytest.mark.parametrize(
    ("genres", "expected"),
    [([1, 2], "wrong_answer"), (["2", "1"], "wrong_answer"), ([9, 2], "wrong_argument"), ([2], "wrong_argument")],
)
def test_every_value_of_a_list_argument_counts(genres, expected):
    task = replace(TASK, gold=(TOP.endpoint,), gold_calls=("GET /movie/top_rated?genres=1&genres=2",))
    call = ToolCall("GET", f"{SERVER}/movie/top_rated", {"genres": genres}, TOP)
    assert kind(step(calls=[answered(call)]), WRONG, task=task) == expected


def test_calls_of_several_steps_count_together():
    assert kind(step(calls=[search("The Dark Knight")]), step(calls=[credits(155)]), WRONG) == "wrong_answer"


def test_a_wrong_answer_is_shown_with_the_right_one():
    error = classify_error(TASK, result(GOOD, WRONG), False)
    assert error == TaskError("wrong_answer", 'answered Nobody; expected "Christopher Nolan"')


def test_a_final_text_without_code_is_an_answer():
    final = step(None, text="##Step 2: It is Nobody.\n[All Finished]", finished=True, status="no_code")
    assert classify_error(TASK, result(GOOD, final), False).message.startswith("answered It is Nobody.")


def test_a_finished_answer_that_nobody_can_check_has_none():
    assert kind(WRONG, success=None) is None


def test_without_gold_a_wrong_answer_is_just_that():
    assert kind(WRONG, task=Task("t", "q", (), answer=TASK.answer)) == "wrong_answer"


def test_messages_are_one_short_line_that_says_what_to_look_at():
    long = step(status="exception", error=f"ValueError: {'long ' * 200}\nlines (line 3: x)")
    assert classify_error(TASK, result(long), False).message.startswith("step 1: ValueError: long")
    assert len(classify_error(TASK, result(long), False).message) == 300
    body = '{"status_message": "not found"}'
    failed = classify_error(TASK, result(step(status="tool_failed", calls=[credits(0, 404, body)])), False)
    assert failed.message == f"step 1: GET /movie/0/credits was answered with 404: {body}"
