"""Two ways in which an answer shows a fact: in what is known already, or after one more call."""

from __future__ import annotations

import re

from codetool.benchmarks.task_generator.grammar import Attribute, Kind, get
from codetool.types import AnswerType


def known(name: str, source: Kind, type: AnswerType, key: str, questions: tuple[str, ...], guard: str) -> Attribute:
    """A fact that the record already holds when it is found."""
    return Attribute(
        name=name,
        source=source,
        type=type,
        questions=questions,
        thought=f"Print its {key.replace('_', ' ')}.",
        code=f'print($x["{key}"])',
        guard=guard,
    )


def detail(
    name: str, source: Kind, type: AnswerType, path: str, value: str, questions: tuple[str, ...], guard: str = "True"
) -> Attribute:
    """A fact that takes a call; `value` is an expression over its answer, `found`."""
    return Attribute(
        name=name,
        source=source,
        type=type,
        questions=questions,
        thought=f"Get {what_of(path)} and print the {label(name)}.",
        code=f"found = {get(path)}\nprint({value})",
        guard=guard,
    )


def what_of(path: str) -> str:
    last = path.rsplit("/", 1)[1]
    if "$episode" in path and last in ("$episode", "credits", "images"):
        return "the episode" if last == "$episode" else f"the episode's {last}"
    if "$season" in path:
        return "the season" if last == "$season" else f"the season's {last}"
    return "the details" if last.startswith("{") else f"the {last.replace('_', ' ')}"


def label(name: str) -> str:
    """The attribute's name in words."""
    return re.sub("^(show|season|episode|collection|company|network) ", "", name.replace("_", " "))
