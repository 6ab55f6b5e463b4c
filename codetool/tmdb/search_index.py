"""Search records by name. Case, accents, punctuation and leading articles are ignored; words match by prefix."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

ARTICLES = frozenset({"the", "a", "an"})
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "'": "", "’": "", "&": " and "})
"""Letters that Unicode normalization does not decompose, and punctuation inside words."""

Record = TypeVar("Record")
Words = tuple[str, ...]


def split_words(text: str) -> Words:
    """Return the words in lower case, without accents and without a leading article, unless that is the only word."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).translate(LETTERS)
    words = tuple(re.findall(r"\w+", bare))
    return words[1:] if len(words) > 1 and words[0] in ARTICLES else words


def words_match(query: Words, text: Words) -> bool:
    """Return whether each word of the query is a prefix of a different word of the text."""
    unmatched = list(text)
    for word in sorted(query, key=len, reverse=True):
        match = next((candidate for candidate in sorted(unmatched, key=len) if candidate.startswith(word)), None)
        if match is None:
            return False
        unmatched.remove(match)
    return bool(query)


@dataclass(frozen=True)
class SearchIndex(Generic[Record]):
    """Index of records by the words of their names, in the order of search results."""

    records: Sequence[Record]
    names: Sequence[frozenset[Words]]
    """Names of each record as words, with and without dots and hyphens: `J.J.` is found by `j j` and by `jj`."""
    beginnings: Sequence[tuple[str, int]]
    """Sorted pairs of a word and the position of a record whose name contains it."""

    def find(self, query: str) -> list[Record]:
        """Return the records with a name that contains the words of the query."""
        query_words = split_words(query)
        if not query_words:
            return []
        positions = sorted(set.intersection(*map(self._begun_by, query_words)))
        if len(query_words) > 1:  # two words of the query may have matched the same word of a name
            positions = [
                position
                for position in positions
                if any(words_match(query_words, name) for name in self.names[position])
            ]
        return [self.records[position] for position in positions]

    def _begun_by(self, word: str) -> set[int]:
        first = bisect_left(self.beginnings, (word,))
        last = bisect_left(self.beginnings, (word + "\U0010ffff",), first)
        return {position for _, position in self.beginnings[first:last]}


def build_index(records: Iterable[Record], names: Callable[[Record], Iterable[str]]) -> SearchIndex[Record]:
    """Build the index of records; `names` returns the names of a record."""
    indexed = tuple(records)
    names_by_record = tuple(
        frozenset(split_words(spelling) for name in names(record) for spelling in (name, re.sub(r"[.-]", "", name)))
        for record in indexed
    )
    beginnings = {
        (word, position)
        for position, record_names in enumerate(names_by_record)
        for spelling in record_names
        for word in spelling
    }
    return SearchIndex(indexed, names_by_record, sorted(beginnings))
