"""Parse a final answer as a value: JSON and Python literals, labelled fields, or plain text.

Dicts and fields may contain context beside the answer: numbers, ids, values that the query names, and for a person the
title (for a title the person) that belongs to it. Anything more counts as several answers, and the result is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from codetool.benchmarks.answer_checker import text_match
from codetool.benchmarks.answer_checker.dates import extract_dates
from codetool.benchmarks.answer_checker.text_match import contains_words, normalize
from codetool.prompts.python_syntax import parse_python_literal
from codetool.types import AnswerType

MIN_TRUNCATED_CHARS = 1_900
"""Length in characters from which the limit of a final answer (2,000, before step markers are removed) may have
truncated it."""
MAX_COMMAS_TRIED = 20
"""Number of commas, from the end of a truncated list, at which the end of its last complete entry is tried."""
MAX_DEPTH = 20
"""Maximum nesting depth of lists and dicts in an answer."""
MAX_FIELDS = 4
"""Maximum keys of a dict that counts as an answer and not as raw data."""
WORK_LABELS = frozenset("title movie film show series episode collection movie title film title original title".split())
PERSON_LABELS = frozenset("name director actor actress person creator writer star".split())
LIST_TYPES = ("list", "ordered_list", "some_of")
CONTEXT_LABELS: Mapping[str, frozenset[str]] = {
    "name": WORK_LABELS | {"job", "department", "known_for_department"},
    "title": PERSON_LABELS,
}
"""Labels of fields that are context for an answer of the type."""
LABEL = r"[-•*\s]*(?P<label>[A-Za-z][\w ()-]{0,30}?)\s*[:=]\s*"
ROLE_LABELS = frozenset("character job role department known_for_department".split())
"""Keys for the role of a person in a list."""
KEY = re.compile(r"[\"']\s*:")
NUMERIC = re.compile(r"[-+$]?\d[\d,.\s]*%?(?:\s*/\s*10)?(?:\s+(?:minutes|votes))?")


def parse_literal(text: str) -> Any:
    """Parse a text as a JSON or Python literal, also after a label; return any other text without markup."""
    labelled = re.match(rf"{LABEL}(?P<rest>[\[{{(].*)\Z", text.strip(), re.S)
    if re.match(r"\s*[-+]\s", text):  # a bullet, not a sign
        return text_match.strip_markup(text)
    for candidate in (text, *([labelled["rest"]] if labelled else [])):
        value = _parse_json_or_python(candidate.strip())
        if value is not None:
            return value
    whole = _parse_truncated_list(text)
    if whole is None and re.match(r"\s*[\[{]", text) and len(KEY.findall(text)) > MAX_FIELDS:
        return None  # a truncated record
    return text_match.strip_markup(text) if whole is None else whole


def unwrap(value: Any, kind: AnswerType, query: str) -> Any:
    """Unwrap single-element lists and dicts with one answer field to the value inside; None if it is ambiguous."""
    for _ in range(4):
        if isinstance(value, Mapping):
            value = _unwrap_mapping(value, kind, query)
        elif (
            isinstance(value, list | tuple | set)
            and len(value) == 1
            and (kind not in LIST_TYPES or _contains_list(value))
        ):
            value = next(iter(value))
        elif isinstance(value, list | tuple) and kind in CONTEXT_LABELS:
            return _only_text(value) or None
        else:
            break
    return text_match.strip_markup(value) if isinstance(value, str) else value


def parse_labelled_fields(text: str) -> dict[str, str] | None:
    """Parse a text that consists of at least two `label: value` pairs; None for any other text."""
    parts = re.split(r"\n+|[,;|]\s*(?=[A-Za-z][\w ()]{0,30}?\s*[:=])", text.strip())
    matches = [re.fullmatch(rf"{LABEL}(?P<value>\S.*)", part.strip()) for part in parts if part.strip()]
    values = {match["label"]: match["value"].strip(" \"'") for match in matches if match}
    return values if len(values) == len(matches) >= 2 else None


def _parse_json_or_python(text: str) -> Any:
    for parse in (json.loads, parse_python_literal):
        try:
            value = parse(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, tuple) and not text.startswith("("):  # `1,234` is a number, not a pair
            continue
        return None if _is_deep(value) else value
    return None


def _is_deep(value: Any) -> bool:
    """Return whether containers nest deeper than `MAX_DEPTH` levels, as only raw data does."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, Mapping | list | tuple | set)
            for child in (parent.values() if isinstance(parent, Mapping) else parent)
        ]
    return bool(level)


def _parse_truncated_list(text: str) -> Any:
    """Parse a list that the answer's limit truncated, without its incomplete last entry; None for any other text."""
    if len(text) < MIN_TRUNCATED_CHARS or not text.startswith("["):
        return None
    commas = [match.start() for match in re.finditer(",", text)][: -MAX_COMMAS_TRIED - 1 : -1]
    return next((value for at in commas if (value := _parse_json_or_python(f"{text[:at]}]")) is not None), None)


def _unwrap_mapping(pairs: Mapping[Any, Any], kind: AnswerType, query: str) -> Any:
    if len(pairs) == 1 and kind != "number":
        return next(iter(pairs.values()))
    if not 0 < len(pairs) <= MAX_FIELDS:
        return None
    if kind in LIST_TYPES:
        lists = [value for value in pairs.values() if isinstance(value, list | tuple | set)]
        if not lists:
            return [pairs]
        raw = len(pairs) > 1 and any(isinstance(entry, Mapping) and len(entry) > 1 for entry in lists[0])
        return None if raw or len(lists) > 1 else lists[0]
    if len(pairs) == 1 and isinstance(nested := next(iter(pairs.values())), list | tuple | set | Mapping):
        return nested
    if any(isinstance(value, list | tuple | set | Mapping) for value in pairs.values()):
        return None
    if kind == "yes_no":
        return _select_value([value for value in pairs.values() if isinstance(value, bool)], {}, kind, query)
    if kind in ("name", "title"):
        return _select_value([], pairs, kind, query)
    return ", ".join(f"{_label_text(label)}: {value}" for label, value in pairs.items() if not _is_id(label))


def looks_like_raw_json(value: Any) -> bool:
    """Return whether a list contains raw records of a service: dicts with many keys, or nested ones."""
    entries = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []
    nested = any(isinstance(part, list | Mapping) for entry in entries for part in entry.values())
    return nested or any(len(entry) > MAX_FIELDS for entry in entries)


def _select_value(values: list[Any], pairs: Mapping[Any, Any], kind: AnswerType, query: str) -> Any:
    """Return the only value of the type, else the only text that is no context; None if there are several."""
    if values or not pairs:
        return values[0] if len(values) == 1 else None
    remaining = {
        normalize(_label_text(label)): value for label, value in pairs.items() if not _is_number_or_date(value)
    }
    context = CONTEXT_LABELS.get(kind, frozenset())
    narrowed = [
        remaining,
        {label: value for label, value in remaining.items() if label not in context},
        {label: value for label, value in remaining.items() if not contains_words(str(value), query)},
    ]
    return next((next(iter(rest.values())) for rest in narrowed if len(rest) == 1), None)


def to_text(entry: Any) -> str:
    """Return the text of a list entry: its own, or the only text of a small dict or tuple; empty if there is none."""
    if isinstance(entry, Mapping):
        pairs = {label: value for label, value in entry.items() if label not in ROLE_LABELS or len(entry) == 1}
    elif isinstance(entry, list | tuple):
        return _only_text(entry)
    else:
        return str(entry)
    if not 0 < len(pairs) <= MAX_FIELDS or any(isinstance(value, list | Mapping) for value in pairs.values()):
        return ""
    texts = [value for value in pairs.values() if len(pairs) == 1 or not _is_number_or_date(value)]
    return str(texts[0]) if len(texts) == 1 else ""


def _only_text(entry: Any) -> str:
    """Return the only text in a short list of numbers and dates, empty if there is none or several."""
    texts = [value for value in entry if isinstance(value, str) and not extract_dates(value)]
    return texts[0] if len(texts) == 1 and len(entry) <= MAX_FIELDS else ""


def _contains_list(value: Any) -> bool:
    return isinstance(next(iter(value)), list | tuple | set)


def _label_text(label: Any) -> str:
    return str(label).replace("_", " ")


def _is_id(label: Any) -> bool:
    return re.fullmatch(r"(?:\w+_)?id", str(label), re.I) is not None


def _is_number_or_date(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    return (
        not value.strip()
        or NUMERIC.fullmatch(value.strip()) is not None
        or (len(value.split()) <= 4 and bool(extract_dates(value)))
    )
