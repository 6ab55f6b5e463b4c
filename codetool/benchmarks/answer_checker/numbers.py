"""Extract numbers in any common format from a text, with the unit that each counts.

A number that is part of a name (`Season 5`, `ID: 525`, `top 10`) is ignored. If several numbers remain, the answer is
the one with the unit that the query asks for, else the one that the query does not contain, else the one after the
verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from codetool.benchmarks.answer_checker.text_match import contains_words, normalize

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = {word: value for value, word in enumerate(SMALL)} | {
    f"{ten}{f'-{SMALL[unit]}' if unit else ''}": 10 * place + unit
    for place, ten in enumerate(TENS, start=2)
    for unit in range(10)
}
SCALES = {"thousand": 3, "million": 6, "billion": 9}
NUMBER = re.compile(
    r"(?<![\w.,])(?P<digits>[-+]?\$?(?:\d{1,3}(?:[,\u202f\u00a0 ]\d{3})+|\d+)(?:\.\d+)?)"  # 1,234.5, 1 234.5 or 1234.5
    r"(?![\w%]|\s%|[.,]\d)(?:\s+(?P<scale>thousand|million|billion)\b)?",
    re.I,
)
WORD = re.compile(rf"(?<!\bno )\b(?:{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})\b(?! of\b)", re.I)
OUT_OF_TEN = re.compile(r"(?<=\d)\s*(?:/|out of)\s*10(?:\.0+)?\b", re.I)
DURATION = re.compile(r"\b(\d{1,9})\s*(?:h|hrs?|hours?)\s*,?\s*(?:and\s+)?(\d{1,9})\s*(?:m|mins?|minutes?)\b", re.I)
MINUTES = re.compile(r"(?<=\d)\s*(?:m|mins?)\b\.?", re.I)
NAME_BEFORE_NUMBER = re.compile(
    r"(?:\b(?P<label>season|episode|part|chapter|volume|page|top|rank)[ _]+(?:no\.?|number)?\s*#?|\bids?\s*[:=#]?)\s*$",
    re.I,
)
LABELLED = re.compile(r"[:=(>–-]\s*[\"'$]?\d")
LABELS = frozenset(
    "total count number sum rating score rated year age runtime answer result length budget revenue there".split()
)
LOWER_CASE_TITLE_WORDS = frozenset("of the and in a an to for at on".split())
OPEN_PARENTHESIS = re.compile(r"\(\s*$")
VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|totals?|equals|runs|lasts)\b|[:=]", re.I)
UNITS = {
    noun: kinds.split()[0]
    for kinds in (
        "season",
        "episode",
        "film movie feature title",
        "show series",
        "minute min",
        "hour",
        "year",
        "day",
        "vote",
        "review",
        "keyword",
        "genre",
        "image poster backdrop photo picture still logo",
        "person people actor actress performer member director writer creator star guest",
        "company studio",
        "dollar usd",
    )
    for noun in kinds.split()
}
"""Nouns for units, each mapped to the first of its synonyms."""
COUNT_QUESTION = re.compile(r"\b(?:how many|number of|count of)((?: \w+){1,4})")
UNIT_QUESTIONS = {
    "minute": r"\bhow long\b|\b(?:runtime|run time|running time|duration)\b",
    "year": r"\bhow old\b|\bage\b",
}


CONTEXT_CHARS = 60
"""Number of characters before and after a number that are searched for its label and its unit."""


@dataclass(frozen=True, slots=True)
class FoundNumber:
    """A number in a text: value, written decimals, start position, and the unit that it counts, if known."""

    value: float
    decimals: int
    start: int
    unit: str | None


def main_number(text: str, query: str) -> FoundNumber | None:
    """Return the number that answers the query; None if there is none, several, or one of another unit."""
    unit = requested_unit(query)
    bare = MINUTES.sub(" minutes", DURATION.sub(_duration_in_minutes, OUT_OF_TEN.sub("", text)))
    if _is_title(bare, query):
        return None
    numbers = [number for number in extract_numbers(bare) if not _is_part_of_name(bare[: number.start], query)]
    query_values = {number.value for number in extract_numbers(query)}
    narrowings: Sequence[Callable[[FoundNumber], bool]] = (
        lambda number: unit is not None and number.unit == unit,
        lambda number: number.value not in query_values,
        lambda number: not OPEN_PARENTHESIS.search(bare[: number.start]),
    )
    for narrowing in narrowings:
        if len({number.value for number in numbers}) > 1:
            numbers = [number for number in numbers if narrowing(number)] or numbers
    if len({number.value for number in numbers}) > 1:
        numbers = _keep_after_verb(bare, numbers)
    if len({number.value for number in numbers}) != 1:
        return None
    return None if unit and any(number.unit not in (None, unit) for number in numbers) else numbers[0]


def extract_values(text: str) -> list[float]:
    """Return the values of all numbers in digits; if there is none, of those in words."""
    return [value for value, _, _ in _find_values(text)]


def extract_numbers(text: str) -> list[FoundNumber]:
    """Return all numbers in digits; if there is none, those in words."""
    return [
        FoundNumber(value, decimals, match.start(), _find_unit(text, match.start(), match.end()))
        for value, decimals, match in _find_values(text)
    ]


def requested_unit(query: str) -> str | None:
    """Return the unit that the query asks for: `season` for `How many seasons …`; None if it names no known unit."""
    words = normalize(query)
    for kind, pattern in UNIT_QUESTIONS.items():
        if re.search(pattern, words):
            return kind
    match = COUNT_QUESTION.search(words)
    return next((unit for word in match.group(1).split() if (unit := _look_up_unit(word))), None) if match else None


def approximately_equal(numbers: FoundNumber, expected: float) -> bool:
    """Return whether a number equals the value: integers exactly, others rounded to at least one decimal."""
    if float(expected).is_integer():
        return numbers.value == float(expected)
    stored = len(repr(float(expected)).partition(".")[2])
    if numbers.decimals < 1:
        return False
    precision = min(numbers.decimals, stored) if stored >= 3 else numbers.decimals
    return abs(numbers.value - expected) <= 0.5 * 10.0**-precision + 1e-9


def _find_values(text: str) -> list[tuple[float, int, re.Match[str]]]:
    """Return value, decimals and match of all numbers in digits; if there is none, of those in words."""
    numbers = [(*_parse_number(match), match) for match in NUMBER.finditer(text)]
    return numbers or [(float(NUMBER_WORDS[match.group().lower()]), 0, match) for match in WORD.finditer(text)]


def _parse_number(match: re.Match[str]) -> tuple[float, int]:
    """Return the value of a matched number and the number of decimals it is written with."""
    digits = re.sub(r"[,$\u202f\u00a0 ]", "", match["digits"])
    scale = SCALES[match["scale"].lower()] if match["scale"] else 0
    decimals = len(digits.partition(".")[2])
    decimals = max(0, decimals - scale)
    return round(float(digits) * 10**scale, decimals), decimals


def _find_unit(text: str, start: int, end: int) -> str | None:
    """Return the unit that follows the number within two words, else the one of its label (`Episodes: 5`)."""
    following = re.match(r"[ \-]*((?:[a-z]+[ \-]*){0,2})", text[end : end + CONTEXT_CHARS], re.I)
    for word in normalize(following.group(1)).split() if following else ():
        if unit := _look_up_unit(word):
            return unit
    label = re.search(r"([\w ]+)\s*[:=]\s*$", text[max(0, start - CONTEXT_CHARS) : start])
    words = normalize(label.group(1).replace("_", " ")) if label else ""
    return requested_unit(words) or (
        _look_up_unit(words.split()[-1]) if words and words.split()[-1].endswith("s") else None
    )


def _look_up_unit(word: str) -> str | None:
    return UNITS.get(word) or UNITS.get(word.removesuffix("s"))


def _is_part_of_name(before: str, query: str) -> bool:
    """Return whether the number is part of a name such as `Season 5`, unless the query asks for that number."""
    match = NAME_BEFORE_NUMBER.search(before[-CONTEXT_CHARS:])
    if match is None:
        return False
    label = (match["label"] or "id").lower()
    asks = rf"\b(?:which|what)(?: \w+){{0,2}} {label}\b|\b{label} number\b|\bnumber of the {label}\b|\b{label} is it\b"
    return re.search(asks, normalize(query)) is None


def _is_title(text: str, query: str) -> bool:
    """Return whether the text is a title that contains a number and is not in the query: `Toy Story 3`, `12 Angry Men`.

    A text with a label or a unit is no title: `Result: 5`, `Seasons 5`.
    """
    if LABELLED.search(text) or re.search(r"\d{3}", text):
        return False
    words = [word for word in re.findall(r"[A-Za-z][\w'’]*", text) if word.lower() not in LOWER_CASE_TITLE_WORDS]
    names = [word for word in words if word.lower() not in NUMBER_WORDS and not contains_words(word, query)]
    before = {word.lower() for word in re.findall(r"([A-Za-z]+)\s+\$?\d", text)}
    counts = any(number.unit for number in extract_numbers(text)) or any(
        _look_up_unit(word) or word in LABELS for word in before
    )
    return bool(names) and not counts and all(word[0].isupper() for word in words)


def _keep_after_verb(text: str, numbers: Sequence[FoundNumber]) -> list[FoundNumber]:
    """Keep the numbers of the only clause after a verb that has any, since a title before it may contain numbers."""
    ends = [match.end() for match in VERB.finditer(text)]
    bounds = [*ends, len(text)]
    clauses = [[f for f in numbers if begin <= f.start < end] for begin, end in pairwise(bounds)]
    holding = [clause for clause in clauses if clause]
    return holding[0] if len(holding) == 1 else list(numbers)


def _duration_in_minutes(match: re.Match[str]) -> str:
    return f"{60 * int(match[1]) + int(match[2])} minutes"
