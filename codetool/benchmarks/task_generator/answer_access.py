"""Make attributes whose value is in a record found already, or in the response of one more call."""

from __future__ import annotations

import re

from codetool.benchmarks.task_generator.grammar import Attribute, Kind, write_request
from codetool.types import AnswerType


def attribute_of_record(
    name: str, source: Kind, type: AnswerType, key: str, questions: tuple[str, ...], guard: str
) -> Attribute:
    """Make an attribute whose value is a field of the record that the chain has found, so it needs no call."""
    return Attribute(
        name=name,
        source=source,
        type=type,
        questions=questions,
        thought=f"Print its {key.replace('_', ' ')}.",
        code=f'print($x["{key}"])',
        guard=guard,
    )


def attribute_of_response(
    name: str, source: Kind, type: AnswerType, path: str, value: str, questions: tuple[str, ...], guard: str = "True"
) -> Attribute:
    """Make an attribute that needs one call; `value` is a Python expression over its response, the variable `found`."""
    return Attribute(
        name=name,
        source=source,
        type=type,
        questions=questions,
        thought=f"Get {describe_path(path)} and print the {describe_attribute(name)}.",
        code=f"found = {write_request(path)}\nprint({value})",
        guard=guard,
    )


def describe_path(path: str) -> str:
    """Return a noun phrase for what a path returns, such as `the season's credits`."""
    last = path.rsplit("/", 1)[1]
    if "$episode" in path and last in ("$episode", "credits", "images"):
        return "the episode" if last == "$episode" else f"the episode's {last}"
    if "$season" in path:
        return "the season" if last == "$season" else f"the season's {last}"
    return "the details" if last.startswith("{") else f"the {last.replace('_', ' ')}"


def describe_attribute(name: str) -> str:
    """Return the attribute's name as words, without the kind of record: `season_date` becomes `date`."""
    return re.sub("^(show|season|episode|collection|company|network) ", "", name.replace("_", " "))
