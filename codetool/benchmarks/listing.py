"""Lists in a final answer: JSON or Python literals, bullets, lines, or an enumeration in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codetool.benchmarks.wording import DECIMAL, YEAR, equal, fold, hedges, leads_up, pattern

INTRODUCTION = 16
"""Most words before the first item."""
LINK = re.compile(
    r"(?:[\s,;/|•*\-–—→>\"'“”‘’().\[\]]|\b(?:and|then|finally|first|second|third|fourth|fifth)\b|\b\d{1,2}[.):])*", re.I
)
FIGURE = re.compile(rf"\((?:released )?(?:{YEAR}|{DECIMAL})\)|(?::| [-–—|]) (?:{YEAR}|{DECIMAL})\b")
"""What may follow an item: its year, date or rating."""
LABEL = re.compile(r"^[-•*\s]*(?:title|name)\s*:", re.I | re.M)


def is_listing(expected: Sequence[str], value: Any, *, ordered: bool) -> bool:
    """Whether the value lists exactly the expected items, each once, in order where order matters."""
    if isinstance(value, Mapping) or (ordered and isinstance(value, set)):
        return False
    if isinstance(value, list | tuple | set):
        return _same(expected, [_item(entry) for entry in value], ordered)
    text = fold(str(value))
    return any(_enumerates(expected, part, ordered) for part in _parts(text))


def is_selection(expected: Sequence[str], value: Any) -> bool:
    """Whether the value gives one or more of the expected items and nothing else that could be one."""
    if isinstance(value, Mapping):
        return False
    if isinstance(value, list | tuple | set):
        items = [_item(entry) for entry in value]
        return bool(items) and all(any(equal(one, item) for one in expected) for item in items)
    text = fold(str(value))
    if any(equal(one, text) for one in expected):
        return True
    return any(_selects(expected, part) for part in _parts(text))


def _selects(expected: Sequence[str], text: str) -> bool:
    spans: list[tuple[int, int, int]] = []
    masked = text
    for index in sorted(range(len(expected)), key=lambda i: -len(expected[i])):
        for hit in re.finditer(pattern(expected[index]), masked, re.I):
            spans.append((hit.start(), hit.end(), index))
            masked = masked[: hit.start()] + "\0" * (hit.end() - hit.start()) + masked[hit.end() :]
    return bool(spans) and _only_links(text, sorted(spans))


def _item(entry: Any) -> str:
    if isinstance(entry, Mapping):
        entry = next(iter(entry.values())) if len(entry) == 1 else ""
    return str(entry)


def _same(expected: Sequence[str], found: Sequence[str], ordered: bool) -> bool:
    if len(found) != len(expected):
        return False
    if ordered:
        return all(equal(one, other) for one, other in zip(expected, found, strict=True))
    left = list(found)
    for item in expected:
        hit = next((other for other in left if equal(item, other)), None)
        if hit is None:
            return False
        left.remove(hit)
    return True


def _parts(text: str) -> Iterator[str]:
    """The text, and what follows its first colon or line: an introduction may name an item too."""
    yield text
    for separator in (": ", ":\n", "\n"):
        introduction, found, rest = text.partition(separator)
        if found and len(introduction.split()) <= INTRODUCTION and not hedges(introduction):
            yield rest


def _enumerates(expected: Sequence[str], text: str, ordered: bool) -> bool:
    spans: list[tuple[int, int, int]] = []
    masked = text
    for index in sorted(range(len(expected)), key=lambda i: -len(expected[i])):
        hit = re.search(pattern(expected[index]), masked, re.I)
        if hit is None:
            return False
        spans.append((hit.start(), hit.end(), index))
        masked = masked[: hit.start()] + "\0" * (hit.end() - hit.start()) + masked[hit.end() :]
    spans.sort()
    in_order = [index for _, _, index in spans] == list(range(len(expected)))
    return (in_order or not ordered) and _only_links(text, spans)


def _only_links(text: str, spans: Sequence[tuple[int, int, int]]) -> bool:
    """Whether nothing but separators stands between the items and after them, and a short introduction before."""
    before = text[: spans[0][0]]
    gaps = [text[left[1] : right[0]] for left, right in zip(spans, spans[1:], strict=False)] + [text[spans[-1][1] :]]
    if hedges(before) or not all(LINK.fullmatch(_bare(gap)) for gap in gaps):
        return False
    return LINK.fullmatch(_bare(before)) is not None or _introduces(before)


def _bare(gap: str) -> str:
    return re.sub(r"\b(?:the|a|an)\b", "", LABEL.sub("", FIGURE.sub("", gap)), flags=re.I)


def _introduces(before: str) -> bool:
    return len(before.split()) <= INTRODUCTION and leads_up(re.sub(r"[\s\d.)*\-•]+$", "", before))
