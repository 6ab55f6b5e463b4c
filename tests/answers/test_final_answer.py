"""The final answer of a path."""

import pytest

from codetool.answers.final_answer import extract_last_output, extract_path_answer
from codetool.types import Execution, Node, Step, format_observation

ROOT = Node(id="0")


def end(text="", code="print(1)", *, finished=True, **execution):
    return Node("1", ROOT, 1, Step(text, code, finished), Execution(**({"status": "ok"} | execution)))


def test_it_is_all_that_the_last_step_printed():
    assert extract_path_answer(end(observation="\n Ann\nBob \n")) == "Ann\nBob"


def test_it_is_cut_at_two_thousand_characters():
    assert extract_path_answer(end(observation="  " + "x" * 3_000)) == "x" * 2_000


def test_an_unfinished_path_has_none():
    assert extract_path_answer(end(observation="Ann", finished=False)) is None
    assert extract_path_answer(ROOT) is None


def test_a_last_step_that_printed_nothing_answers_with_nothing():
    assert extract_path_answer(end(status="exception", error="KeyError: 'id'")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "##Step 3: It is Ann.\n[All Finished]",
        "## Step 3: It is Ann.\n[All Finished]\n[Step 3 Finished]",
        "It is Ann.",
        "##Step 3:\nPython Code:\nIt is Ann. [All Finished]",
    ],
)
def test_a_last_step_without_code_answers_with_its_own_words(text):
    assert extract_path_answer(end(text, None, status="no_code")) == "It is Ann."


def test_what_was_written_to_stderr_is_no_part_of_the_answer():
    ran = end(observation=format_observation("Ann", "WARNING:root:old"), stderr="WARNING:root:old")
    assert "WARNING" in ran.execution.observation
    assert extract_path_answer(ran) == "Ann"
    assert extract_path_answer(end(observation=format_observation("", "low"), stderr="low")) == ""
    assert extract_path_answer(end(observation="[stderr, last lines]\nlow")) == "[stderr, last lines]\nlow"


@pytest.mark.parametrize(
    ("ran", "answer"),
    [
        ({"observation": " Ann\n"}, "Ann"),
        ({"observation": " \n"}, None),
        ({"observation": "Ann", "status": "exception", "error": "KeyError: 'id'"}, None),
        ({"observation": format_observation("Ann", "low"), "stderr": "low"}, "Ann"),
        ({"observation": format_observation("", "low"), "stderr": "low"}, None),
        ({"observation": "x" * 3_000}, "x" * 2_000),
    ],
)
def test_what_an_unfinished_path_printed_last(ran, answer):
    assert extract_last_output(end(finished=False, **ran)) == answer
    assert extract_path_answer(end(finished=False, **ran)) is None


def test_a_root_printed_nothing():
    assert extract_last_output(ROOT) is None
