"""How searching compares texts: case, accents, punctuation and leading articles do not matter, prefixes match."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

ARTICLES = frozenset({"the", "a", "an"})


@lru_cache(maxsize=8192)  # searches ask for the same few thousand titles again and again
def words(text: str) -> tuple[str, ...]:
    """The words of a text, lower-case and without accents; a leading article is left out unless it stands alone."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    found = tuple(re.findall(r"\w+", bare.replace("'", "").replace("’", "").replace("&", " and ")))
    return found[1:] if len(found) > 1 and found[0] in ARTICLES else found


def matches(query: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """Whether each word of the query begins a word of the text of its own."""
    left = list(text)
    for word in sorted(query, key=len, reverse=True):
        hit = next((other for other in sorted(left, key=len) if other.startswith(word)), None)
        if hit is None:
            return False
        left.remove(hit)
    return bool(query)
