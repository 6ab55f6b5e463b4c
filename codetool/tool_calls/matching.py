"""Whether a call, or an argument of one, means the same as the reference solution's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from codetool.tool_calls.notation import WrittenCall, decoded_path
from codetool.types import SAFE_METHODS, Tool

SPELLING = 0.8
"""Share of letters in common from which on two search texts are spellings of one name (`Redemptionn`)."""
LONGEST = 500
"""Characters up to which search texts are compared letter by letter, which takes quadratic time."""
FREE_TEXT = frozenset({"query", "q", "search", "keyword"})
"""Arguments that services search by and that forgive spelling."""
_VARIABLE = re.compile(r"\{[^{}]*\}")
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


def is_made(expected: WrittenCall, given: WrittenCall) -> bool:
    """Whether a call is the reference's: further arguments may stand in it, only the page must be the same.

    The values of a repeated argument may come in any order, except in a call that changes something. An argument that
    the reference leaves empty may be missing.
    """
    if (expected.method, expected.path) != (given.method, given.path):
        return False
    ordered = expected.method not in SAFE_METHODS
    names = dict.fromkeys(("page", *expected.arguments))
    wanted = {name: values for name in names if (values := _values(expected, name))}
    return all(_alike_values(name, values, _values(given, name), ordered) for name, values in wanted.items())


def operation(call: WrittenCall, tools: Iterable[Tool]) -> Tool | None:
    """The tool that the call is for, or None where none fits.

    The method must be the tool's. Of several templates that fit, the one wins that is literal in the leftmost segment
    in which they differ, as in the broker (`codetool.tools.url_router`).
    """
    fitting = [
        (tuple(map(_openness, tool.path.strip("/").split("/"))), tool)
        for tool in tools
        if tool.method == call.method and _template(tool.path).fullmatch(_below(call.path, tool.server))
    ]
    return min(fitting, key=lambda ranked: ranked[0], default=(None, None))[1]


def alike(name: str, one: str, other: str) -> bool:
    """Whether the values are the same: search texts but for case, accents, articles and slips of spelling."""
    if name not in FREE_TEXT:
        return _plain(one) == _plain(other)
    first, second = _words(one), _words(other)
    numbers = [re.findall(r"\d+", text) for text in (first, second)]
    if first == second or numbers[0] != numbers[1] or max(len(first), len(second)) > LONGEST:
        return first == second
    return SequenceMatcher(None, first, second, autojunk=False).ratio() >= SPELLING


def _values(call: WrittenCall, name: str) -> tuple[str, ...]:
    """The argument's values that are not blank; a call without a page asks for the first."""
    values = tuple(value for value in call.arguments.get(name, ()) if value.strip())
    return values or (("1",) if name == "page" else ())


def _alike_values(name: str, wanted: Sequence[str], found: Sequence[str], ordered: bool) -> bool:
    first, second = (wanted, found) if ordered else (sorted(wanted, key=_plain), sorted(found, key=_plain))
    return len(first) == len(second) and all(alike(name, one, other) for one, other in zip(first, second, strict=True))


def _plain(value: str) -> str:
    """The value without surrounding blanks, in lower case, a whole number without its point: `8.0` is `8`."""
    text = unicodedata.normalize("NFC", value).strip().casefold()
    whole = _WHOLE_NUMBER.fullmatch(text)
    return whole[1] if whole else text


def _below(path: str, server: str) -> str:
    """The path below the server, of a call whose line gives the whole URL."""
    below = path.removeprefix(decoded_path(server)) if "://" in path else path
    return below if below[:1] in ("", "/") else path


@lru_cache(maxsize=4096)
def _template(path: str) -> re.Pattern[str]:
    """A pattern for the paths of a URL template: characters stand for themselves, a variable for part of a segment."""
    literals = (re.escape(decoded_path(literal)) for literal in _VARIABLE.split(path.rstrip("/")))
    return re.compile("[^/]+?".join(literals))


def _openness(segment: str) -> int:
    """0 for a literal segment of a template, 1 for one with text around its variable, 2 for a variable alone."""
    return 2 if _VARIABLE.fullmatch(segment) else 1 if _VARIABLE.search(segment) else 0


def _words(text: str) -> str:
    """Lower-case words without accents, punctuation and articles."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(word for word in re.findall(r"\w+", bare) if word not in ("the", "a", "an"))
