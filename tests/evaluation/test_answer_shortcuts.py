"""Answers without a tool call, and answers that repeat the query."""

from __future__ import annotations

import pytest

from codetool.evaluation.answer_shortcuts import AnswerShortcuts, copies_query, count_answer_shortcuts

QUERY = "Who directed the film Alien, and in which year was it released?"


@pytest.mark.parametrize(
    ("query", "answer", "is_copy"),
    [
        (QUERY, QUERY, True),
        (QUERY, "who directed the film alien and in which year", True),  # 9 of 12 words, without case and punctuation
        (QUERY, "The answer: in which year was it released", True),  # 6 of 12 words
        (QUERY, "which year was it released", False),  # 5 of 12
        (QUERY, "Ridley Scott, and the film Alien was released in 1979", False),
        ("Is Alien longer than Aliens?", "Alien", False),  # a name in the query is an answer
        ("Is Alien longer than Aliens?", "longer than Aliens", False),  # 3 words in a row are too few
        ("Is Alien longer than Aliens?", "Alien longer than Aliens", True),
        ("Best film?", "the best film", True),  # the whole query, short as it is
        ("?!", "anything", False),
        (QUERY, "", False),
    ],
)
def test_an_answer_copies_the_query_if_it_repeats_half_of_it_in_a_row(query: str, answer: str, is_copy: bool) -> None:
    assert copies_query(query, answer) is is_copy


def test_shares_are_of_the_tasks_with_an_answer_and_calls_are_those_of_the_chosen_path() -> None:
    call = {"http_status": 404}
    nodes = [
        {"id": "1", "execution": {"calls": []}},
        {"id": "1-1", "execution": {"calls": [call]}},
        {"id": "2", "execution": None},
    ]
    lines = [
        {"task_id": "a", "query": QUERY, "answer": "Ridley Scott", "path": ["1", "1-1"]},  # a failed call is a call
        {"task_id": "b", "query": QUERY, "answer": QUERY, "path": ["1"]},
        {"task_id": "c", "query": QUERY, "answer": "1979", "path": ["2"]},
        {"task_id": "d", "query": QUERY, "answer": " ", "path": ["1"]},
        {"task_id": "e", "query": QUERY, "answer": None, "path": []},
    ]
    counted = count_answer_shortcuts(lines, {name: {"nodes": nodes} for name in "abcde"})
    assert counted == AnswerShortcuts(answers=3, without_tools=2, copied=1)
    assert counted.compute_shares() == {"answers_without_tools": 2 / 3, "answers_copying_query": 1 / 3}
    assert AnswerShortcuts(0, 0, 0).compute_shares() == dict.fromkeys(counted.compute_shares())
