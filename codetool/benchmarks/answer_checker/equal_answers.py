"""Group final answers that say the same, by the reading of the checker but without a reference answer.

An answer is taken for the reference: another one says the same if the checker would accept it. What kind of answer it
is, a number, a date, a list or a name, is read from its form. Numbers must be equal, since a rounded one is not always
right, and lists must have one order, since the reference may ask for it.

Limits: the query is unknown here, so its unit and its words have no effect. Texts of more than `MAX_READ_CHARS` are
compared by their words alone, since reading raw data as a list takes long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.answer_checker.dates import MONTHS, extract_dates
from codetool.benchmarks.answer_checker.lists import matches_list
from codetool.benchmarks.answer_checker.literals import parse_literal, to_text
from codetool.benchmarks.answer_checker.numbers import main_number
from codetool.benchmarks.answer_checker.text_match import names_equal, normalize
from codetool.benchmarks.answer_checker.urls import extract_urls
from codetool.types import JSON, Answer, AnswerType

References = Mapping[AnswerType, JSON]
"""Value of a reference answer by its type."""
BOOLEANS: Mapping[str, bool] = {"yes": True, "true": True, "no": False, "false": False}
LIST_SEPARATOR = re.compile(r"\s*\n\s*|\s*[,;]\s+(?:and\s+)?|\s+and\s+")
MAX_READ_CHARS = 400
"""Maximum length of an answer that is taken for a reference."""
MAX_UNWRAPPED_LEVELS = 4
"""Maximum number of one-element lists and dicts around a value that are removed."""


def group_equal_answers(answers: Sequence[str]) -> list[int]:
    """Return the number of each answer's group; answers of one group say the same.

    The shortest answer of a group stands for it, so the groups do not depend on the order of the answers. Empty answers
    are a group.
    """
    representatives: list[str] = []
    groups: dict[str, int] = {}
    for answer in sorted(set(answers), key=lambda text: (len(text), text)):
        fitting = (group for group, other in enumerate(representatives) if says_the_same(other, answer))
        groups[answer] = next(fitting, len(representatives))
        if groups[answer] == len(representatives):
            representatives.append(answer)
    return [groups[answer] for answer in answers]


def says_the_same(answer: str, other: str) -> bool:
    """Return whether the checker accepts one of the answers if the other one is the reference."""
    if answer.strip() == other.strip():
        return True
    if max(len(answer), len(other)) > MAX_READ_CHARS:
        return names_equal(answer, other)
    references, other_references = read_as_references(answer), read_as_references(other)
    common = references.keys() & other_references.keys()
    if "number" in common:
        return bool(references["number"] == other_references["number"])
    if "ordered_list" in common:  # much faster than to search each item in the text
        return matches_list(
            [[item] for item in references["ordered_list"]], other_references["ordered_list"], ordered=True
        )
    accepted = any(matches(Answer(kind, value), other) for kind, value in references.items())
    return accepted or any(matches(Answer(kind, value), answer) for kind, value in other_references.items())


@lru_cache(maxsize=512)
def read_as_references(text: str) -> References:
    """Return the references that a text can stand for; none for an empty text and raw data."""
    value = _unwrap(parse_literal(text))
    if isinstance(value, bool):
        return {"yes_no": value}
    if isinstance(value, int | float):
        return {"number": value}
    if isinstance(value, list | tuple):
        items = [to_text(entry) for entry in value]
        return {"ordered_list": items} if items and all(items) else {}
    return _read_text(value) if isinstance(value, str) and value.strip() else {}


def _read_text(text: str) -> References:
    """Return the references of a text that is no literal; the first form that fits excludes the later ones."""
    if (word := normalize(text)) in BOOLEANS:
        return {"yes_no": BOOLEANS[word]}
    if len(urls := set(extract_urls(text))) == 1:
        return {"url": urls.pop()}
    if len(days := extract_dates(text)) == 1 and not _has_names(text):
        return {"date": days.pop()}
    if (number := main_number(text, "")) is not None and not _has_names(text):
        return {"number": number.value}
    items = [item for item in LIST_SEPARATOR.split(text) if item]
    return {"title": text, "ordered_list": items} if len(items) > 1 else {"title": text}


def _has_names(text: str) -> bool:
    """Return whether a word after the first one is capitalized and is no month: a text about something named."""
    words = re.findall(r"[A-Za-z][\w'’]*", text)
    return any(word[0].isupper() and word.lower() not in MONTHS for word in words[1:])


def _unwrap(value: Any) -> Any:
    """Return the value inside lists and dicts of one element."""
    for _ in range(MAX_UNWRAPPED_LEVELS):
        if isinstance(value, Mapping) and len(value) == 1:
            value = next(iter(value.values()))
        elif isinstance(value, list | tuple | set) and len(value) == 1:
            value = next(iter(value))
        else:
            break
    return value
