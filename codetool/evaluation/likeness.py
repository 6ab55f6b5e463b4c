"""Whether two arguments of a call mean the same."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher

SPELLING = 0.8
"""Share of letters in common from which on two search texts are spellings of one name (`Redemptionn`)."""
FREE_TEXT = frozenset({"query", "q", "search", "keyword"})
"""Arguments that services search by and that forgive spelling."""


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
