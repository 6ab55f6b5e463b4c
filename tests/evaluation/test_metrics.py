"""The metrics of one task."""

import pytest

from codetool.evaluation.metrics import compute_duplicates, compute_metrics
from codetool.ledger import Ledger
from codetool.types import Execution, Node, SearchResult, Step, Task, Tool, ToolAnswer, ToolCall

SEARCH, CREDITS, TOP = "GET /search/movie", "GET /movie/{movie_id}/credits", "GET /movie/top_rated"
NAMES = (
    "success scep correct_path correct_path_set path_recall path_precision delta_length duplicates tokens_in "
    "tokens_out prm_tokens prm_tokens_computed executions tool_calls seconds usd flops"
).split()


def call(endpoint, status=200):
    method, path = endpoint.split()
    tool = Tool(name=path, method=method, server="http://films", path=path) if path != "/unknown" else None
    return ToolAnswer(ToolCall(method, f"http://films{path}", {}, tool), status, "{}", "replica")


def chain(*steps):
    """A result whose chosen path has these steps, each given as its spot and the endpoints that it called."""
    node = Node(id="0")
    for spot, *endpoints in steps:
        execution = Execution("ok" if spot else "exception", calls=tuple(map(call, endpoints)))
        node = Node(f"{node.id}-1", node, node.depth + 1, Step("s", "x", False), execution, spot=spot)
    return SearchResult(node, node.path, Ledger(10, 20, 30, 4, 5, 0.5, 12, flops=60))


def of(result, *gold, success=None):
    return compute_metrics(Task("t", "q", (), gold), result, success, 1.5)


def test_names_are_those_of_the_contract():
    assert list(of(chain())) == NAMES


def test_costs_come_from_the_ledger_and_the_clock():
    found = of(chain((1, SEARCH)), success=True)
    assert [found[name] for name in NAMES[8:]] == [10, 20, 30, 12, 4, 5, 1.5, 0.5, 60]
    assert found["success"] is True


def test_scep_is_the_share_of_the_chosen_paths_steps_that_ran():
    assert of(chain((1,), (0,), (1,), (1,)))["scep"] == 0.75
    assert of(chain())["scep"] == 0.0


@pytest.mark.parametrize(
    ("calls", "correct", "as_set", "recall", "precision", "delta"),
    [
        ([SEARCH, CREDITS], True, True, 1.0, 1.0, 0),
        ([TOP, SEARCH, TOP, CREDITS], True, True, 1.0, 2 / 3, 2),
        ([CREDITS, SEARCH], False, True, 1.0, 1.0, 0),
        ([SEARCH, SEARCH], False, False, 0.5, 1.0, 0),
        ([TOP], False, False, 0.0, 0.0, -1),
        ([SEARCH, "GET /unknown", CREDITS], True, True, 1.0, 2 / 3, 1),
        (["POST /search/movie", CREDITS], False, False, 0.5, 0.5, 0),
        (["GET /unknown", "POST /unknown"], False, False, 0.0, 0.0, 0),
        ([SEARCH, "GET /unknown", "POST /unknown"], False, False, 0.5, 1 / 3, 1),
        ([], False, False, 0.0, 0.0, -2),
    ],
)
def test_path_metrics(calls, correct, as_set, recall, precision, delta):
    found = of(chain((1, *calls)), SEARCH, CREDITS)
    assert [found[name] for name in NAMES[2:7]] == [correct, as_set, recall, precision, delta]


def test_a_gold_path_that_repeats_an_endpoint_asks_for_both_calls():
    assert of(chain((1, SEARCH, CREDITS, CREDITS)), SEARCH, CREDITS, CREDITS)["correct_path"]
    assert not of(chain((1, SEARCH, CREDITS)), SEARCH, CREDITS, CREDITS)["correct_path"]


def test_calls_are_taken_in_order_over_all_steps():
    assert of(chain((1, SEARCH), (0, TOP), (1, CREDITS)), SEARCH, CREDITS)["correct_path"]
    assert not of(chain((1, CREDITS), (1, SEARCH)), SEARCH, CREDITS)["correct_path"]


def test_tasks_without_gold_have_no_path_metrics():
    assert [of(chain((1, SEARCH)))[name] for name in NAMES[2:7]] == [None] * 5


def test_a_task_without_a_result_did_nothing_right():
    found = of(None, SEARCH, success=False)
    assert (found["success"], found["correct_path"], found["path_recall"], found["scep"]) == (False, False, 0.0, 0.0)


def test_duplicates_are_candidates_that_an_earlier_sibling_equals():
    root = Node("0")
    one, two = (Node(str(place), root, 1, multiplicity=times) for place, times in ((1, 3), (2, 1)))
    below = Node("1-1", one, 2)
    assert compute_duplicates([root, one, two, below]) == 2 / 5
    assert compute_duplicates([root, one]) == 2 / 3
    assert compute_duplicates([root, two, Node("2-1", two, 2)]) is None, "one candidate a step has no siblings"
    assert compute_duplicates([]) is None
