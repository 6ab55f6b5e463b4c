"""Whether a final answer says the checked value: typed comparison, lenient about form and strict about content.

Case, accents, punctuation, leading articles, the style of numbers and dates, JSON or Python notation and a short
sentence around the value do not matter. Several values where one is asked for, hedging, questions and dumped data do
not pass.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from codetool.benchmarks import wording
from codetool.benchmarks.dates import dates
from codetool.benchmarks.listing import is_listing, is_selection
from codetool.benchmarks.wording import bounds, equal, hedges, norm, sentence_holds
from codetool.types import JSON, Answer

WORDS = 30
"""Longest text, in words beyond the value, that still counts as an answer and not as a dump."""

NUMBERS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen twenty".split()
    )
}
SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
NUMBER = re.compile(
    r"(?<![\w.,])([-+]?\$?\d{1,3}(?:[,\u202f ]\d{3})+(?:\.\d+)?"  # 1,234 or 1 234.5
    r"|(?<![\w.])[-+]?\$?\d+(?:\.\d+)?)"  # 1234 or 1234.5
    r"(?![\w%]|\s%)(?:\s+(thousand|million|billion)\b)?",
    re.I,
)
OUT_OF_TEN = re.compile(r"(?<=\d)\s*(?:/|out of)\s*10\b")
VERDICT = re.compile(
    r"(yes|no|true|false)(?=[\s.!]*$|\s*[,;:.!–—-]|\s+(?:he|she|it|they|both|neither|this|that)\b)", re.I
)
"""Yes or no as a reply, not as a word of a sentence: `no` of `no results` is none."""
URL = re.compile(r"https?://[^\s\"'<>()\[\]{}|\\^`]+|\bwww\.[^\s\"'<>()\[\]{}|\\^`]+")


def matches(answer: Answer, text: str | None, query: str = "") -> bool:
    """Whether `text`, a final answer as printed, gives the checked answer and nothing that contradicts it.

    `query` is the task's: an answer that only repeats it does not pass.
    """
    if text is None or not text.strip():
        return False
    value = _unwrapped(_parsed(text))
    return _CHECKS[answer.type](answer.value, value)


def _parsed(text: str) -> Any:
    """The JSON or Python literal that the text is, else the text."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if not isinstance(value, tuple) or text.lstrip().startswith("("):  # 1,234 is a number, no pair
            return value
    return wording.plain(text)


def _unwrapped(value: Any) -> Any:
    """The one value inside dicts and lists of length one."""
    for _ in range(4):
        if isinstance(value, Mapping) and len(value) == 1:
            value = next(iter(value.values()))
        elif isinstance(value, list | tuple | set) and len(value) == 1:
            value = next(iter(value))
        else:
            break
    return wording.plain(value) if isinstance(value, str) else value


def _text(expected: JSON, value: Any) -> bool:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return False
    return equal(str(expected), str(value)) or sentence_holds(str(expected), str(value), WORDS)


def _number(expected: JSON, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return _close(float(value), float(expected))
    if not isinstance(value, str) or not _short(value) or bounds(value) or dates(value):
        return False
    found = _numbers(value)
    if len(set(found)) > 1:  # a title may hold numbers of its own: what counts stands after the verb
        tails = re.split(r"\b(?:is|are|was|were|has|have|had|totals?|equals)\b|[:=]", value)
        found = _numbers(tails[-1]) if sum(bool(_numbers(tail)) for tail in tails[1:]) == 1 else []
    return len(set(found)) == 1 and _close(found[0], float(expected))


def _numbers(text: str) -> list[float]:
    bare = OUT_OF_TEN.sub("", text)
    found = [
        float(re.sub(r"[,$\u202f ]", "", digits)) * SCALES.get(scale.lower(), 1)
        for digits, scale in NUMBER.findall(bare)
    ]
    return found or [float(NUMBERS[word]) for word in norm(bare).split() if word in NUMBERS]


def _date(expected: JSON, value: Any) -> bool:
    return isinstance(value, str) and _short(value, lines=3) and not bounds(value) and dates(value) == {str(expected)}


def _yes_no(expected: JSON, value: Any) -> bool:
    if isinstance(value, bool):
        return value is expected
    if not isinstance(value, str) or not _short(value, denial=False):
        return False
    conclusion = re.split(r":|=|\b(?:answer|result|it|that|this)\s+is\b", value, flags=re.I)[-1].strip(" \"'“”{}[]")
    reply = VERDICT.match(value) or VERDICT.match(conclusion)
    said = {word in ("yes", "true") for word in norm(value).split() if word in ("yes", "no", "true", "false")}
    return reply is not None and said == {expected}


def _url(expected: JSON, value: Any) -> bool:
    if not isinstance(value, str) or not _short(value, lines=3):
        return False
    found = {_address(hit) for hit in URL.findall(value)} or {_address(value)}
    return found == {_address(str(expected))}


def _address(url: str) -> str:
    bare = re.sub(r"^(https?://)?(www\.)?", "", url.strip().rstrip(".,;:!?*"), flags=re.I).rstrip("/")
    host, slash, path = bare.partition("/")
    return host.lower() + slash + path


def _list(expected: JSON, value: Any) -> bool:
    return is_listing([str(item) for item in expected], value, ordered=False)


def _ordered_list(expected: JSON, value: Any) -> bool:
    return is_listing([str(item) for item in expected], value, ordered=True)


def _some_of(expected: JSON, value: Any) -> bool:
    return is_selection([str(item) for item in expected], value)


def _short(text: str, *, lines: int = 1, denial: bool = True) -> bool:
    return len(text.splitlines()) <= lines and len(text.split()) <= WORDS and not hedges(text, denial)


def _close(found: float, expected: float) -> bool:
    return abs(found - expected) <= 1e-6 * max(1.0, abs(expected))


_CHECKS: Mapping[str, Callable[[JSON, Any], bool]] = {
    "name": _text,
    "title": _text,
    "number": _number,
    "date": _date,
    "list": _list,
    "ordered_list": _ordered_list,
    "some_of": _some_of,
    "yes_no": _yes_no,
    "url": _url,
}
