"""Numbers in a text, whatever their style, and what they count.

A number that names something (`Season 5`, `ID: 525`, `top 10`) counts nothing. Where several numbers are left, the one
with the unit that the query asks for is the answer, else the one that the query did not bring along, else the one after
the verb.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from codetool.benchmarks.answer_checker.text_match import norm, within

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WORDS = {word: value for value, word in enumerate(SMALL)} | {
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
WORD = re.compile(rf"(?<!\bno )\b(?:{'|'.join(sorted(WORDS, key=len, reverse=True))})\b(?! of\b)", re.I)
OUT_OF_TEN = re.compile(r"(?<=\d)\s*(?:/|out of)\s*10(?:\.0+)?\b", re.I)
DURATION = re.compile(r"\b(\d{1,9})\s*(?:h|hrs?|hours?)\s*,?\s*(?:and\s+)?(\d{1,9})\s*(?:m|mins?|minutes?)\b", re.I)
MINUTES = re.compile(r"(?<=\d)\s*(?:m|mins?)\b\.?", re.I)
NAMED = re.compile(
    r"(?:\b(?P<label>season|episode|part|chapter|volume|page|top|rank)[ _]+(?:no\.?|number)?\s*#?|\bids?\s*[:=#]?)\s*$",
    re.I,
)
LABELLED = re.compile(r"[:=(>–-]\s*[\"'$]?\d")
LABELS = frozenset(
    "total count number sum rating score rated year age runtime answer result length budget revenue there".split()
)
IN_TITLES = frozenset("of the and in a an to for at on".split())
YEAR_ASIDE = re.compile(r"\(\s*$")
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
"""Nouns that are counted, each with the first of those that mean the same."""
ASKED = re.compile(r"\b(?:how many|number of|count of)((?: \w+){1,4})")
MEASURES = {"minute": r"\bhow long\b|\b(?:runtime|run time|running time|duration)\b", "year": r"\bhow old\b|\bage\b"}


NEARBY = 60
"""Characters before and after a number in which its label and its unit are looked for."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a text: `decimals` are its digits after the point as written, `unit` is what it counts, if known."""

    value: float
    decimals: int
    start: int
    unit: str | None


def the_figure(text: str, query: str) -> Figure | None:
    """The one number that the text gives in answer to the query, None if it gives none, several, or another unit's."""
    asked = unit_asked(query)
    bare = MINUTES.sub(" minutes", DURATION.sub(_minutes, OUT_OF_TEN.sub("", text)))
    if _is_title(bare, query):
        return None
    found = [figure for figure in figures(bare) if not _named(bare[: figure.start], query)]
    brought = {figure.value for figure in figures(query)}
    narrowings: Sequence[Callable[[Figure], bool]] = (
        lambda figure: asked is not None and figure.unit == asked,
        lambda figure: figure.value not in brought,
        lambda figure: not YEAR_ASIDE.search(bare[: figure.start]),
    )
    for narrowing in narrowings:
        if len({figure.value for figure in found}) > 1:
            found = [figure for figure in found if narrowing(figure)] or found
    if len({figure.value for figure in found}) > 1:
        found = _after_the_verb(bare, found)
    if len({figure.value for figure in found}) != 1:
        return None
    return None if asked and any(figure.unit not in (None, asked) for figure in found) else found[0]


def numbers(text: str) -> list[float]:
    """The values of all numbers in digits; if there is none, of those in words."""
    return [value for value, _, _ in _values(text)]


def figures(text: str) -> list[Figure]:
    """All numbers in digits; if there is none, those in words."""
    return [
        Figure(value, decimals, hit.start(), _unit(text, hit.start(), hit.end()))
        for value, decimals, hit in _values(text)
    ]


def unit_asked(query: str) -> str | None:
    """What the query wants counted: `season` for `How many seasons …`; None where it does not say so in known words."""
    words = norm(query)
    for kind, pattern in MEASURES.items():
        if re.search(pattern, words):
            return kind
    hit = ASKED.search(words)
    return next((unit for word in hit.group(1).split() if (unit := _known(word))), None) if hit else None


def close(found: Figure, expected: float) -> bool:
    """Whether the figure is the value: integers exactly, others rounded to one decimal at least."""
    if float(expected).is_integer():
        return found.value == float(expected)
    stored = len(repr(float(expected)).partition(".")[2])
    if found.decimals < 1:
        return False
    precision = min(found.decimals, stored) if stored >= 3 else found.decimals
    return abs(found.value - expected) <= 0.5 * 10.0**-precision + 1e-9


def _values(text: str) -> list[tuple[float, int, re.Match[str]]]:
    """Value, decimals and place of all numbers in digits; if there is none, of those in words."""
    found = [(*_value(hit), hit) for hit in NUMBER.finditer(text)]
    return found or [(float(WORDS[hit.group().lower()]), 0, hit) for hit in WORD.finditer(text)]


def _value(hit: re.Match[str]) -> tuple[float, int]:
    """A number and how many decimals it is written with."""
    digits = re.sub(r"[,$\u202f\u00a0 ]", "", hit["digits"])
    scale = SCALES[hit["scale"].lower()] if hit["scale"] else 0
    decimals = len(digits.partition(".")[2])
    decimals = max(0, decimals - scale)
    return round(float(digits) * 10**scale, decimals), decimals


def _unit(text: str, start: int, end: int) -> str | None:
    """The noun that follows the number within two words, else the one that its label counts (`Episodes: 5`)."""
    behind = re.match(r"[ \-]*((?:[a-z]+[ \-]*){0,2})", text[end : end + NEARBY], re.I)
    for word in norm(behind.group(1)).split() if behind else ():
        if unit := _known(word):
            return unit
    label = re.search(r"([\w ]+)\s*[:=]\s*$", text[max(0, start - NEARBY) : start])
    words = norm(label.group(1).replace("_", " ")) if label else ""
    return unit_asked(words) or (_known(words.split()[-1]) if words and words.split()[-1].endswith("s") else None)


def _known(word: str) -> str | None:
    return UNITS.get(word) or UNITS.get(word.removesuffix("s"))


def _named(before: str, query: str) -> bool:
    """Whether the number that follows is part of a name, `Season 5`, and the query does not ask for just that."""
    hit = NAMED.search(before[-NEARBY:])
    if hit is None:
        return False
    label = (hit["label"] or "id").lower()
    asks = rf"\b(?:which|what)(?: \w+){{0,2}} {label}\b|\b{label} number\b|\bnumber of the {label}\b|\b{label} is it\b"
    return re.search(asks, norm(query)) is None


def _is_title(text: str, query: str) -> bool:
    """Whether the text is a title with a number in it that the query does not name: `Toy Story 3`, `12 Angry Men`.

    A label or a unit says otherwise: `Result: 5`, `Seasons 5`.
    """
    if LABELLED.search(text) or re.search(r"\d{3}", text):
        return False
    words = [word for word in re.findall(r"[A-Za-z][\w'’]*", text) if word.lower() not in IN_TITLES]
    names = [word for word in words if word.lower() not in WORDS and not within(word, query)]
    before = {word.lower() for word in re.findall(r"([A-Za-z]+)\s+\$?\d", text)}
    counts = any(figure.unit for figure in figures(text)) or any(_known(word) or word in LABELS for word in before)
    return bool(names) and not counts and all(word[0].isupper() for word in words)


def _after_the_verb(text: str, found: Sequence[Figure]) -> list[Figure]:
    """The numbers of the one clause after a verb that holds any: a title before it may hold numbers of its own."""
    ends = [hit.end() for hit in VERB.finditer(text)]
    bounds = [*ends, len(text)]
    clauses = [[f for f in found if begin <= f.start < end] for begin, end in pairwise(bounds)]
    holding = [clause for clause in clauses if clause]
    return holding[0] if len(holding) == 1 else list(found)


def _minutes(hit: re.Match[str]) -> str:
    return f"{60 * int(hit[1]) + int(hit[2])} minutes"
