"""What a judge said, as models say it."""

from __future__ import annotations

import time

import pytest

from codetool.judges.verdict_parser import MAX_REASON_CHARS, extract_reason, parse_choice, parse_label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('{"answer_status": "Solved", "reason": "all is there"}', "Solved"),
        ('Here:\n```json\n{"reason": "it is {not} there",\n "answer_status": "unsolved"}\n```', "Unsolved"),
        ("{'answer_status': 'Unsure', 'reason': 'quote \" broken'", "Unsure"),
        ('{"answer_status": "Solved", "reason": "cut of', "Solved"),
        ("Answer Status\nSolved0304\nReason\nThe answer is complete.", "Solved"),
        ("**Answer Status:** Unsolved\nReason: Solved only in part", "Unsolved"),
        ("Unsolved. It was not solved.", "Unsolved"),
        ("**Unsure**", "Unsure"),
        ('<think>"answer_status": "Solved"? No.</think>{"answer_status": "Unsolved"}', "Unsolved"),
        ("<think>Solved, I would say, but", None),
        ("Yes", "Solved"), ("no.", "Unsolved"), ("**YES** because no film …", "Solved"),
        ("<think>No date is given, yes, but</think>\n\nYes.", "Solved"), ("<think>Yes, though", None),
        ("Not yesterday", None), ("Not solved", None), ("There is no doubt: yes", None), ("", None),
        ('{"answer_status": "Solved", "reason": "the previous answer status: Unsolved was wrong"}', "Solved"),
        ('{"answer_status": "Solvable"}', None), ("Solvedly", None),
    ],
)  # fmt: skip
def test_a_label_is_read_from_json_from_a_named_field_or_from_the_first_word(text: str, label: str | None) -> None:
    assert parse_label(text) == label


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ('{"better": "first", "reason": "the second is vague"}', "first"),
        ("Better: second", "second"), ("Equal.", "equal"), ("first", "first"),
        ("<think>first</think> I cannot say", None), ("The first one is better", None),
        ('{"better": "first", "reason": "The first answer is better. Second answer names no dates."}', "first"),
        ('{"better": "equal", "reason": "Neither is better; first and second say the same."}', "equal"),
        ("First, I look at both", None),
    ],
)  # fmt: skip
def test_a_choice_is_read_in_the_same_way(text: str, choice: str | None) -> None:
    assert parse_choice(text) == choice


def test_a_reason_is_the_one_given_else_what_was_said_and_short() -> None:
    assert extract_reason('x {"answer_status": "Solved", "reason": "all\nthere"}') == "all there"
    assert extract_reason("<think>long</think> Solved, I think") == "Solved, I think"
    assert len(extract_reason("word " * 1000)) == MAX_REASON_CHARS


@pytest.mark.parametrize(
    "reply", ['{"a":' * 40_000, '{"a":' * 2_000 + "1" + "}" * 2_000, '{"answer_status": ' * 10_000]
)
def test_replies_without_end_are_unreadable_at_once(reply: str) -> None:
    start = time.process_time()
    parse_label(reply)
    assert time.process_time() - start < 2
