"""A final answer as a value: JSON and Python literals, labelled fields, or plain text.

Dicts and fields may carry context beside their one answer: figures, ids, what the query says itself, and for a person
the title (for a title the person) that it belongs to. Anything more is several answers, and no value comes back.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any

from codetool.benchmarks.answer_checker import text_match
from codetool.benchmarks.answer_checker.dates import dates
from codetool.benchmarks.answer_checker.text_match import norm, within
from codetool.types import AnswerType

CUT = 1_900
"""Characters from which on the limit of a final answer (2,000, before marks are taken out) may have cut it."""
ENTRY = 20
"""Commas from the end of a cut list among which its last whole entry is looked for."""
DEEPEST = 20
"""Levels of lists and dicts in an answer at most."""
FIELDS = 4
"""Most keys of a dict that is an answer and no dump."""
WORKS = frozenset("title movie film show series episode collection movie title film title original title".split())
PEOPLE = frozenset("name director actor actress person creator writer star".split())
LISTS = ("list", "ordered_list", "some_of")
CONTEXT: Mapping[str, frozenset[str]] = {"name": WORKS | {"job", "department", "known_for_department"}, "title": PEOPLE}
"""Labels that hold context for an answer of the type."""
LABEL = r"[-•*\s]*(?P<label>[A-Za-z][\w ()-]{0,30}?)\s*[:=]\s*"
ROLES = frozenset("character job role department known_for_department".split())
"""Keys that say what a person of a list is there for."""
KEY = re.compile(r"[\"']\s*:")
NUMERIC = re.compile(r"[-+$]?\d[\d,.\s]*%?(?:\s*/\s*10)?(?:\s+(?:minutes|votes))?")


def read(text: str) -> Any:
    """The JSON or Python literal that the text is, after a label too; else the text without marks."""
    labelled = re.match(rf"{LABEL}(?P<rest>[\[{{(].*)\Z", text.strip(), re.S)
    if re.match(r"\s*[-+]\s", text):  # a bullet, no sign
        return text_match.plain(text)
    for candidate in (text, *([labelled["rest"]] if labelled else [])):
        value = _literal(candidate.strip())
        if value is not None:
            return value
    whole = _whole_entries(text)
    if whole is None and re.match(r"\s*[\[{]", text) and len(KEY.findall(text)) > FIELDS:
        return None  # a record that the limit cut
    return text_match.plain(text) if whole is None else whole


def opened(value: Any, kind: AnswerType, query: str) -> Any:
    """The one value inside dicts and lists of length one, and inside a dict with context; None if it holds several."""
    for _ in range(4):
        if isinstance(value, Mapping):
            value = _field(value, kind, query)
        elif isinstance(value, list | tuple | set) and len(value) == 1 and (kind not in LISTS or _nests(value)):
            value = next(iter(value))
        elif isinstance(value, list | tuple) and kind in CONTEXT:
            return _text_of(value) or None
        else:
            break
    return text_match.plain(value) if isinstance(value, str) else value


def fields(text: str) -> dict[str, str] | None:
    """The `label: value` pairs that the text consists of, two at least; None for any other text."""
    parts = re.split(r"\n+|[,;|]\s*(?=[A-Za-z][\w ()]{0,30}?\s*[:=])", text.strip())
    hits = [re.fullmatch(rf"{LABEL}(?P<value>\S.*)", part.strip()) for part in parts if part.strip()]
    found = {hit["label"]: hit["value"].strip(" \"'") for hit in hits if hit}
    return found if len(found) == len(hits) >= 2 else None


def _literal(text: str) -> Any:
    for parse in (json.loads, _python):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, tuple) and not text.startswith("("):  # 1,234 is a number, no pair
            continue
        return None if _is_deep(value) else value
    return None


def _is_deep(value: Any) -> bool:
    """Whether containers nest deeper than `DEEPEST` levels, which only a dump does."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, Mapping | list | tuple | set)
            for child in (parent.values() if isinstance(parent, Mapping) else parent)
        ]
    return bool(level)


def _whole_entries(text: str) -> Any:
    """The list that the limit of a final answer cut, without its broken last entry; None for any other text."""
    if len(text) < CUT or not text.startswith("["):
        return None
    commas = [hit.start() for hit in re.finditer(",", text)][: -ENTRY - 1 : -1]
    return next((value for at in commas if (value := _literal(f"{text[:at]}]")) is not None), None)


def _python(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # `5is` is no literal, and no news
        return ast.literal_eval(text)


def _field(pairs: Mapping[Any, Any], kind: AnswerType, query: str) -> Any:
    if len(pairs) == 1 and kind != "number":
        return next(iter(pairs.values()))
    if not 0 < len(pairs) <= FIELDS:
        return None
    if kind in LISTS:
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
        return _only([value for value in pairs.values() if isinstance(value, bool)], {}, kind, query)
    if kind in ("name", "title"):
        return _only([], pairs, kind, query)
    return ", ".join(f"{_words(label)}: {value}" for label, value in pairs.items() if not _is_id(label))


def is_dump(value: Any) -> bool:
    """Whether a list holds records as a service gives them: dicts of many keys, or nested ones."""
    entries = [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list | tuple) else []
    nested = any(isinstance(part, list | Mapping) for entry in entries for part in entry.values())
    return nested or any(len(entry) > FIELDS for entry in entries)


def _only(found: list[Any], pairs: Mapping[Any, Any], kind: AnswerType, query: str) -> Any:
    """The one value of its kind, else the one text that is no context."""
    if found or not pairs:
        return found[0] if len(found) == 1 else None
    left = {norm(_words(label)): value for label, value in pairs.items() if not _is_figure(value)}
    context = CONTEXT.get(kind, frozenset())
    narrowed = [
        left,
        {label: value for label, value in left.items() if label not in context},
        {label: value for label, value in left.items() if not within(str(value), query)},
    ]
    return next((next(iter(rest.values())) for rest in narrowed if len(rest) == 1), None)


def item(entry: Any) -> str:
    """The text of a list's entry: its own, or the one text of a small dict or tuple besides figures; empty if none."""
    if isinstance(entry, Mapping):
        pairs = {label: value for label, value in entry.items() if label not in ROLES or len(entry) == 1}
    elif isinstance(entry, list | tuple):
        return _text_of(entry)
    else:
        return str(entry)
    if not 0 < len(pairs) <= FIELDS or any(isinstance(value, list | Mapping) for value in pairs.values()):
        return ""
    texts = [value for value in pairs.values() if len(pairs) == 1 or not _is_figure(value)]
    return str(texts[0]) if len(texts) == 1 else ""


def _text_of(entry: Any) -> str:
    """The one text of a short list besides numbers and dates."""
    texts = [value for value in entry if isinstance(value, str) and not dates(value)]
    return texts[0] if len(texts) == 1 and len(entry) <= FIELDS else ""


def _nests(value: Any) -> bool:
    return isinstance(next(iter(value)), list | tuple | set)


def _words(label: Any) -> str:
    return str(label).replace("_", " ")


def _is_id(label: Any) -> bool:
    return re.fullmatch(r"(?:\w+_)?id", str(label), re.I) is not None


def _is_figure(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    return (
        not value.strip()
        or NUMERIC.fullmatch(value.strip()) is not None
        or (len(value.split()) <= 4 and bool(dates(value)))
    )
