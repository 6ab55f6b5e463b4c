"""Search by name: case, accents, punctuation and leading articles do not matter, words may be cut short."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

ARTICLES = frozenset({"the", "a", "an"})
LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "'": "", "’": "", "&": " and "})
"""Letters that Unicode does not take apart, and marks inside words."""

Record = TypeVar("Record")
Words = tuple[str, ...]


def split_words(text: str) -> Words:
    """The words of a text, lower-case and without accents; a leading article is left out unless it stands alone."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in parts if not unicodedata.combining(c)).translate(LETTERS)
    found = tuple(re.findall(r"\w+", bare))
    return found[1:] if len(found) > 1 and found[0] in ARTICLES else found


def words_match(query: Words, text: Words) -> bool:
    """Whether each word of the query begins a word of the text of its own."""
    left = list(text)
    for word in sorted(query, key=len, reverse=True):
        hit = next((other for other in sorted(left, key=len) if other.startswith(word)), None)
        if hit is None:
            return False
        left.remove(hit)
    return bool(query)


@dataclass(frozen=True)
class SearchIndex(Generic[Record]):
    """Records in the order in which a search lists them, found by the words of their names."""

    records: Sequence[Record]
    names: Sequence[frozenset[Words]]
    """The names of each record, also with their dots and hyphens left out: `J.J.` is found by `j j` and by `jj`."""
    beginnings: Sequence[tuple[str, int]]
    """Every word with the place of a record that it names, sorted."""

    def find(self, query: str) -> list[Record]:
        """The records with a name that holds the query's words."""
        asked = split_words(query)
        if not asked:
            return []
        places = sorted(set.intersection(*map(self._begun_by, asked)))
        if len(asked) > 1:  # two words of the query may have met the same word of a name
            places = [place for place in places if any(words_match(asked, name) for name in self.names[place])]
        return [self.records[place] for place in places]

    def _begun_by(self, word: str) -> set[int]:
        first = bisect_left(self.beginnings, (word,))
        last = bisect_left(self.beginnings, (word + "\U0010ffff",), first)
        return {place for _, place in self.beginnings[first:last]}


def build_index(records: Iterable[Record], names: Callable[[Record], Iterable[str]]) -> SearchIndex[Record]:
    """The index of records by the names that `names` gives for each."""
    kept = tuple(records)
    forms = tuple(
        frozenset(split_words(form) for name in names(record) for form in (name, re.sub(r"[.-]", "", name)))
        for record in kept
    )
    pairs = {(word, place) for place, some in enumerate(forms) for form in some for word in form}
    return SearchIndex(kept, forms, sorted(pairs))
