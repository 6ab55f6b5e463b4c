"""Guesses of the next tokens from earlier texts."""

from __future__ import annotations

import pytest

from codetool.models import draft_table
from codetool.models.draft_table import DraftTable


def write(table: DraftTable, text: list[int]) -> None:
    for end in range(1, len(text) + 1):
        table.add_last(text[:end])


def test_the_longest_known_context_decides() -> None:
    table = DraftTable()
    write(table, [1, 2, 3, 4, 9, 2, 3, 5])
    assert table.draft([1, 2, 3], 3) == [4, 9, 2]
    assert table.draft([7, 2, 3], 3) == [5]  # after the last "2 3"; nothing is known of "3 5"
    assert table.draft([3], 3) == table.draft([8, 8], 3) == table.draft([1, 2, 3], 0) == []


def test_a_text_replaces_a_guess_and_a_prompt_does_not() -> None:
    table = DraftTable()
    table.add_prompt([1, 2, 3, 4])
    table.add_prompt([1, 2, 3, 5])
    assert table.draft([2, 3], 1) == [4]
    write(table, [2, 3, 5])
    assert table.draft([2, 3], 1) == [5]


def test_the_table_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_table, "MAX_ENTRIES", 10)
    table = DraftTable()
    write(table, list(range(100)))
    assert table.draft([97, 98], 1) == [99]
    assert table.draft([1, 2], 1) == []
