"""Lists in a final answer: JSON or Python literals, bullets, lines, or an enumeration in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from codetool.benchmarks.reading import item
from codetool.benchmarks.wording import DECIMAL, YEAR, denies, echoes, equal, fold, hedges, leads_up, pattern, within

INTRODUCTION = 16
"""Most words before the first item."""
LINK = r"[\s!,;/|•*\-–—→<>\"'“”‘’().\[\]{}]|\b(?:and|then|finally|first|second|third|fourth|fifth)\b|\b\d{1,2}[.):]"
SOME_LINK = rf"{LINK}|\b(?:or|also)\b"
FIGURE = re.compile(
    rf"\((?:released:? )?(?:{YEAR}|{DECIMAL}(?:/10)?|(?:id:? *)?\d+)\)"
    rf"|(?::|,| [-–—|]) (?:{YEAR}|{DECIMAL}(?:/10)?)(?![\w-])"
)
"""What may follow an item: its year, date or rating."""
ROLE = re.compile(r"\s*(?:\([^()]+\)|\bas\s+[^,;]+|\s[-–—]\s[^,;]+|:\s[^,;]+)\s*$")
"""What may follow every item of a list, if it follows all: a part played, a job."""
INLINE_ROLE = re.compile(r"^\s*(?:\([^()]+\)|as\s+(?:(?!\band\b)[^,;])+?)(?=\s*(?:[,;.\n]|$)|\s+and\b)")
LABEL = re.compile(r"^[-•*\s]*(?:title|name)\s*:", re.I | re.M)
MARK = re.compile(r"^\s*(?:[-•*–]\s+|\d{1,2}[.):]\s+|#\d+\s+)?(?:(?:title|name)\s*:\s*)?", re.I)
SAME_LABEL = re.compile(r"([A-Za-z]+)\s*#?\d*\s*:\s+")
"""What every line may begin with, if all do: `Director: …`, `Genre 2: …`."""
Alternatives = Sequence[str]
"""Equally right spellings of one item."""


def is_listing(expected: Sequence[Alternatives], value: Any, query: str = "", *, ordered: bool) -> bool:
    """Whether the value lists exactly the expected items, each once, in order where order matters.

    A sentence may go on after them with a verb and words of the query.
    """
    if isinstance(value, list | tuple | set):
        return not (ordered and isinstance(value, set)) and _same(expected, [item(entry) for entry in value], ordered)
    if not isinstance(value, str):
        return False
    if any(_same(expected, lines, ordered) for lines in _itemised(value)):
        return True
    return any(_enumerates(expected, part, ordered, query) for part in _parts(fold(value)))


def is_selection(expected: Sequence[Alternatives], value: Any, query: str = "") -> bool:
    """Whether the value gives one or more of the expected items and nothing else that could be one.

    What only stands in words of the query is not given.
    """
    if isinstance(value, list | tuple | set):
        return _all_known(expected, [item(entry) for entry in value])
    if not isinstance(value, str):
        return False
    if any(_all_known(expected, lines) for lines in _itemised(value)):
        return True
    return any(_selects(expected, part, query) for part in _parts(fold(value)))


def _itemised(text: str) -> Iterator[list[str]]:
    """The lines as items, and the lines after an introduction."""
    lines = [line for line in text.splitlines() if line.strip()]
    for rest in (lines, lines[1:] if lines and _introduces(lines[0]) else []):
        items = [MARK.sub("", line).strip() for line in rest]
        if items:
            yield items
        labels = [SAME_LABEL.match(one) for one in items]
        if len(items) > 1 and len({label[1].casefold() if label else None for label in labels}) == 1:
            yield [SAME_LABEL.sub("", one) for one in items]


def _same(expected: Sequence[Alternatives], found: Sequence[str], ordered: bool) -> bool:
    if len(found) != len(expected):
        return False
    roles = _roles(found)
    if ordered:
        return all(_is(one, other, roles) for one, other in zip(expected, found, strict=True))
    left = list(found)
    for one in expected:
        hit = next((other for other in left if _is(one, other, roles)), None)
        if hit is None:
            return False
        left.remove(hit)
    return True


def _all_known(expected: Sequence[Alternatives], found: Sequence[str]) -> bool:
    roles = _roles(found)
    return bool(found) and all(any(_is(one, other, roles) for one in expected) for other in found)


def _roles(found: Sequence[str]) -> bool:
    return len(found) > 1 and all(ROLE.search(other) for other in found)


def _is(alternatives: Alternatives, text: str, roles: bool) -> bool:
    bare = FIGURE.sub("", text)
    texts = [text, bare, ROLE.sub("", bare)] if roles else [text, bare]
    return any(equal(one, other) for one in alternatives for other in texts)


def _parts(text: str) -> Iterator[str]:
    """The text, and what follows its first colon or line: an introduction may name an item too."""
    yield text
    for separator in (": ", ":\n", "\n"):
        introduction, found, rest = text.partition(separator)
        if found and len(introduction.split()) <= INTRODUCTION and not hedges(introduction):
            yield rest


def _enumerates(expected: Sequence[Alternatives], text: str, ordered: bool, query: str) -> bool:
    spans = _spans(expected, text, once=True)
    if len(spans) < len(expected) or hedges(text[: spans[0][0]] if spans else text):
        return False
    in_order = [index for _, _, index in spans] == list(range(len(expected)))
    return (in_order or not ordered) and _only_links(text, spans, LINK, query)


def _selects(expected: Sequence[Alternatives], text: str, query: str) -> bool:
    spans = [
        (start, end, index)
        for start, end, index in _spans(expected, text, once=False)
        if not echoes(text[:start], text[start:end], text[end:], query)
    ]
    return bool(spans) and not denies(text[: spans[0][0]]) and _only_links(text, spans, SOME_LINK, query)


def _spans(expected: Sequence[Alternatives], text: str, *, once: bool) -> list[tuple[int, int, int]]:
    """Where the items stand, longer ones first so that none is found inside another: start, end, index."""
    spans, masked, taken = list[tuple[int, int, int]](), text, set[int]()
    spellings = [(one, index) for index, alternatives in enumerate(expected) for one in alternatives]
    for one, index in sorted(spellings, key=lambda spelling: -len(spelling[0])):
        for hit in re.finditer(pattern(one), masked, re.I):
            if once and index in taken:
                break
            taken.add(index)
            spans.append((hit.start(), hit.end(), index))
            masked = masked[: hit.start()] + "\0" * (hit.end() - hit.start()) + masked[hit.end() :]
    return sorted(spans)


def _only_links(text: str, spans: Sequence[tuple[int, int, int]], link: str, query: str) -> bool:
    """Whether nothing but separators stands between the items and after them, and a short introduction before."""
    before = text[: spans[0][0]]
    gaps = [text[left[1] : right[0]] for left, right in zip(spans, spans[1:], strict=False)] + [text[spans[-1][1] :]]
    if all(INLINE_ROLE.match(gap) for gap in gaps):
        gaps = [INLINE_ROLE.sub("", gap) for gap in gaps]
    gaps[-1] = _without_verb(gaps[-1], query)
    links = re.compile(rf"(?:{link})*", re.I)
    if not all(links.fullmatch(_bare(gap)) for gap in gaps):
        return False
    return links.fullmatch(_bare(before)) is not None or _introduces(before)


def _without_verb(tail: str, query: str) -> str:
    """The rest of the sentence without its verb (`… star in Titanic.`), if all its names are the query's."""
    verb = re.fullmatch(
        r"\s+(?:star|starred|are|were|appear|appeared|have|play|played|direct|directed|wrote|created|made)\b([^,;:]*)",
        tail,
    )
    names = re.findall(r"\b[A-Z]\w*", verb[1]) if verb else []
    return "" if verb and not denies(tail) and all(within(name, query) for name in names) else tail


def _bare(gap: str) -> str:
    return re.sub(r"\b(?:the|a|an)\b", "", LABEL.sub("", FIGURE.sub("", gap)), flags=re.I)


def _introduces(before: str) -> bool:
    lead = re.sub(r"[\s\d.)*\-•]+$", " ", before)
    return len(before.split()) <= INTRODUCTION and not before.rstrip().endswith("?") and leads_up(lead)
