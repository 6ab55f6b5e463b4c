"""Whether a call, or an argument of one, means the same as the reference solution's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher

from codetool.calls import WrittenCall
from codetool.types import Tool

SPELLING = 0.8
"""Share of letters in common from which on two search texts are spellings of one name (`Redemptionn`)."""
FREE_TEXT = frozenset({"query", "q", "search", "keyword"})
"""Arguments that services search by and that forgive spelling."""


def is_made(expected: WrittenCall, given: WrittenCall) -> bool:
    """Whether a call is the reference's: further arguments may stand in it, only the page must be the same."""
    if (expected.method, expected.path) != (given.method, given.path):
        return False
    pages = [call.arguments.get("page", "1") for call in (expected, given)]
    return pages[0] == pages[1] and all(
        name in given.arguments and alike(name, value, given.arguments[name])
        for name, value in expected.arguments.items()
    )


def operation(call: WrittenCall, tools: Iterable[Tool]) -> Tool | None:
    """The tool that the call is for, the most literal template first; None where none fits."""
    fitting = [tool for tool in tools if re.fullmatch(re.sub(r"\{[^{}]*\}", "[^/]+", tool.path), call.path)]
    return min(fitting, key=lambda tool: tool.path.count("{"), default=None)


def alike(name: str, one: str, other: str) -> bool:
    """Whether the values are the same: search texts but for case, accents, articles and slips of spelling."""
    if name not in FREE_TEXT:
        return one.strip().casefold() == other.strip().casefold()
    first, second = _words(one), _words(other)
    numbers = [re.findall(r"\d+", text) for text in (first, second)]
    return first == second or (
        numbers[0] == numbers[1] and SequenceMatcher(None, first, second, autojunk=False).ratio() >= SPELLING
    )


def _words(text: str) -> str:
    """Lower-case words without accents, punctuation and articles."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(word for word in re.findall(r"\w+", bare) if word not in ("the", "a", "an"))
