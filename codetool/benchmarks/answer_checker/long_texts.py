"""Long texts in a final answer, such as reviews: whole, or cut as programs and the answer's own limit cut them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codetool.benchmarks.answer_checker.literals import FIELDS
from codetool.benchmarks.answer_checker.text_match import norm

LONG = 12
"""Words from which on a value is a passage and no name."""
EXCERPT = 20
"""Words of a passage, counted from its beginning, that stand for it."""
OPENING = 8
FRAME = 16
"""Most other words, and as many again for each passage: an introduction, authors, ratings."""


def is_passage(value: str) -> bool:
    """Whether the value is a text of its own."""
    return len(value.split()) >= LONG


def holds_passages(expected: Sequence[str], value: Any) -> bool:
    """Whether the value gives one or more of the passages with no more than a frame round them."""
    text = _flat(value)
    if text is None:
        return False
    words, found = norm(text).split(), 0
    for passage in sorted((norm(one).split() for one in expected), key=len, reverse=True):
        begin = _find(words, passage[:OPENING])
        if begin is None:
            continue
        size = _agreement(words[begin:], passage)
        if size >= min(EXCERPT, len(passage)):
            words[begin : begin + size] = []
            found += 1
    return found > 0 and len(words) <= FRAME * (found + 1)


def _flat(value: Any) -> str | None:
    """The texts of a literal in lines; None for a dump: deep, or dicts with many keys."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _flat(list(value.values())) if len(value) <= FIELDS else None
    if not isinstance(value, list | tuple | set):
        return str(value)
    parts = [_flat(entry) for entry in value]
    return None if None in parts else "\n".join(part for part in parts if part)


def _find(words: Sequence[str], opening: Sequence[str]) -> int | None:
    size, places = len(opening), range(len(words) - len(opening) + 1)
    return next((at for at in places if words[at] == opening[0] and words[at : at + size] == opening), None)


def _agreement(words: Sequence[str], passage: Sequence[str]) -> int:
    pairs = enumerate(zip(words, passage, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(words), len(passage)))
