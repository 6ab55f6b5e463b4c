"""Check long texts in a final answer, such as reviews: complete, or truncated by a program or by the answer's limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codetool.benchmarks.answer_checker.literals import MAX_FIELDS
from codetool.benchmarks.answer_checker.text_match import normalize

MIN_LONG_TEXT_WORDS = 12
"""Number of words from which a value counts as a long text and not as a name."""
EXCERPT_WORDS = 20
"""Number of words at the beginning of a long text that suffice for a match."""
OPENING_WORDS = 8
MAX_FRAME_WORDS = 16
"""Maximum other words, such as introductions, authors and ratings; the same number is added for each long text."""


def is_long_text(value: str) -> bool:
    """Return whether the value is a long text."""
    return len(value.split()) >= MIN_LONG_TEXT_WORDS


def contains_long_texts(expected: Sequence[str], value: Any) -> bool:
    """Return whether the value contains one or more of the long texts and few other words."""
    text = _flatten(value)
    if text is None:
        return False
    words, count = normalize(text).split(), 0
    for passage in sorted((normalize(one).split() for one in expected), key=len, reverse=True):
        start = _find_opening(words, passage[:OPENING_WORDS])
        if start is None:
            continue
        size = _count_common_words(words[start:], passage)
        if size >= min(EXCERPT_WORDS, len(passage)):
            words[start : start + size] = []
            count += 1
    return count > 0 and len(words) <= MAX_FRAME_WORDS * (count + 1)


def _flatten(value: Any) -> str | None:
    """Join the texts of a literal by line breaks; None for raw data with large dicts."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return _flatten(list(value.values())) if len(value) <= MAX_FIELDS else None
    if not isinstance(value, list | tuple | set):
        return str(value)
    parts = [_flatten(entry) for entry in value]
    return None if None in parts else "\n".join(part for part in parts if part)


def _find_opening(words: Sequence[str], opening: Sequence[str]) -> int | None:
    size, positions = len(opening), range(len(words) - len(opening) + 1)
    return next(
        (
            position
            for position in positions
            if words[position] == opening[0] and words[position : position + size] == opening
        ),
        None,
    )


def _count_common_words(words: Sequence[str], passage: Sequence[str]) -> int:
    pairs = enumerate(zip(words, passage, strict=False))
    return next((position for position, (one, other) in pairs if one != other), min(len(words), len(passage)))
