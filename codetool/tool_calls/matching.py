"""Compare tool calls and their arguments with those of the reference solution."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from codetool.tool_calls.notation import ParsedCall, decode_path
from codetool.types import SAFE_METHODS, Tool

MIN_SIMILARITY = 0.8
"""Similarity ratio from which two search texts count as spellings of one name (`Redemptionn`)."""
MAX_COMPARED_CHARS = 500
"""Maximum length in characters of search texts compared by similarity, which takes quadratic time."""
SEARCH_ARGUMENTS = frozenset({"query", "q", "search", "keyword"})
"""Names of arguments that services search by, where small spelling differences do not matter."""
_VARIABLE = re.compile(r"\{[^{}]*\}")
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


def matches_reference(expected: ParsedCall, given: ParsedCall) -> bool:
    """Return whether a call has the reference's method, path, arguments and page; it may have further arguments.

    The values of a repeated argument may come in any order, except in a call that writes. An argument that is empty in
    the reference may be missing.
    """
    if (expected.method, expected.path) != (given.method, given.path):
        return False
    ordered = expected.method not in SAFE_METHODS
    names = dict.fromkeys(("page", *expected.arguments))
    expected_values = {name: values for name in names if (values := _get_values(expected, name))}
    return all(
        _value_lists_match(name, values, _get_values(given, name), ordered) for name, values in expected_values.items()
    )


def find_tool(call: ParsedCall, tools: Iterable[Tool]) -> Tool | None:
    """Return the tool with the call's method and a path template that fits, or None.

    If several templates fit, the one with a literal in the leftmost segment where they differ wins, as in the broker
    (`codetool.tools.url_router`).
    """
    candidates = [
        (tuple(map(_rank_segment, tool.path.strip("/").split("/"))), tool)
        for tool in tools
        if tool.method == call.method and _compile_template(tool.path).fullmatch(_strip_server(call.path, tool.server))
    ]
    return min(candidates, key=lambda ranked: ranked[0], default=(None, None))[1]


def values_match(name: str, one: str, other: str) -> bool:
    """Return whether two values are equal; search texts may differ in case, accents, articles or a few letters."""
    if name not in SEARCH_ARGUMENTS:
        return _normalize_value(one) == _normalize_value(other)
    first, second = _normalize_search_text(one), _normalize_search_text(other)
    numbers = [re.findall(r"\d+", text) for text in (first, second)]
    if first == second or numbers[0] != numbers[1] or max(len(first), len(second)) > MAX_COMPARED_CHARS:
        return first == second
    return SequenceMatcher(None, first, second, autojunk=False).ratio() >= MIN_SIMILARITY


def _get_values(call: ParsedCall, name: str) -> tuple[str, ...]:
    """Return the argument's values that are not blank. The default of `page` is 1."""
    values = tuple(value for value in call.arguments.get(name, ()) if value.strip())
    return values or (("1",) if name == "page" else ())


def _value_lists_match(name: str, expected_values: Sequence[str], given_values: Sequence[str], ordered: bool) -> bool:
    first, second = (
        (expected_values, given_values)
        if ordered
        else (sorted(expected_values, key=_normalize_value), sorted(given_values, key=_normalize_value))
    )
    return len(first) == len(second) and all(
        values_match(name, one, other) for one, other in zip(first, second, strict=True)
    )


def _normalize_value(value: str) -> str:
    """Strip and lower-case a value, and drop the decimals of a whole number: `8.0` becomes `8`."""
    text = unicodedata.normalize("NFC", value).strip().casefold()
    whole = _WHOLE_NUMBER.fullmatch(text)
    return whole[1] if whole else text


def _strip_server(path: str, server: str) -> str:
    """Return the path below the server, for a call whose line contains the full URL."""
    below = path.removeprefix(decode_path(server)) if "://" in path else path
    return below if below[:1] in ("", "/") else path


@lru_cache(maxsize=4096)
def _compile_template(path: str) -> re.Pattern[str]:
    """Compile a URL template to a pattern: literals match themselves, a variable matches part of one segment."""
    literals = (re.escape(decode_path(literal)) for literal in _VARIABLE.split(path.rstrip("/")))
    return re.compile("[^/]+?".join(literals))


def _rank_segment(segment: str) -> int:
    """Return 0 for a literal template segment, 1 for a variable with text around it, 2 for a variable alone."""
    return 2 if _VARIABLE.fullmatch(segment) else 1 if _VARIABLE.search(segment) else 0


def _normalize_search_text(text: str) -> str:
    """Return the words in lower case, without accents, punctuation and articles."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(word for word in re.findall(r"\w+", bare) if word not in ("the", "a", "an"))
