"""Lists in a final answer: JSON or Python literals, bullets, lines, or an enumeration in a sentence."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from codetool.benchmarks.answer_checker.literals import item
from codetool.benchmarks.answer_checker.pairing import pairs_up
from codetool.benchmarks.answer_checker.text_match import (
    DECIMAL,
    YEAR,
    asks,
    denies,
    echoes,
    fold,
    hedges,
    key,
    leads_up,
    may_hold,
    pattern,
    within,
)

INTRODUCTION = 16
"""Most words before the first item."""
LINK = r"[\s!,;/|•*\-–—→<>\"'“”‘’().\[\]{}]|\b(?:and|then|finally|first|second|third|fourth|fifth)\b|\b\d{1,2}[.):]"
SOME_LINK = rf"{LINK}|\b(?:or|also)\b"
FIGURE = re.compile(
    rf"\((?:released:? )?(?:{YEAR}|{DECIMAL}(?:/10)?|(?:id:? *)?\d+)\)"
    rf"|(?::|,| [-–—|]) (?:{YEAR}|{DECIMAL}(?:/10)?)(?![\w-])"
)
"""What may follow an item: its year, date or rating."""
ROLE = re.compile(r"\s*(?:\([^()]+\)|\bas\s+[^,;]++|\s[-–—]\s[^,;]++|:\s[^,;]++)\s*$")
"""What may follow every item of a list, if it follows all: a part played, a job."""
INLINE_ROLE = re.compile(r"^\s*(?:\([^()]+\)|as\s+(?:(?!\band\b)[^,;])+?)(?=\s*(?:[,;.\n]|$)|\s+and\b)")
NUMBERING = string.whitespace + string.digits + ".)*-•\u00a0\u202f"
"""What may stand between an introduction and the first item."""
LABEL = re.compile(r"^[-•* \t]*+(?:title|name)\s*:", re.I | re.M)
MARK = re.compile(r"^\s*(?:[-•*–]\s+|\d{1,2}[.):]\s+|#\d+\s+)?(?:(?:title|name)\s*:\s*)?", re.I)
SAME_LABEL = re.compile(r"([A-Za-z]+)\s*#?\d*\s*:\s+")
"""What every line may begin with, if all do: `Director: …`, `Genre 2: …`."""
Alternatives = Sequence[str]
"""Equally right spellings of one item."""
Key = tuple[str, bool]
"""The normal form of a text, and whether the text asks."""
NO_NAMES = frozenset({("", False), ("", True)})
Span = tuple[int, int, frozenset[int]]
"""Start and end of a spelling in a text, and the indices of the items that it may stand for."""


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
    wanted, given = [_wanted_keys(one) for one in expected], [_keys(other, roles) for other in found]
    if ordered:
        return all(one & other for one, other in zip(wanted, given, strict=True))
    return pairs_up(given, wanted)


def _all_known(expected: Sequence[Alternatives], found: Sequence[str]) -> bool:
    roles, known = _roles(found), frozenset[Key]().union(*map(_wanted_keys, expected))
    return bool(found) and all(known & _keys(other, roles) for other in found)


def _roles(found: Sequence[str]) -> bool:
    return len(found) > 1 and all(ROLE.search(other) for other in found)


def _wanted_keys(alternatives: Alternatives) -> frozenset[Key]:
    """The keys of texts that are one of these spellings; only a spelling with a question mark may be asked."""
    return frozenset((key(one), asked) for one in alternatives for asked in {False, "?" in one}) - NO_NAMES


def _keys(text: str, roles: bool) -> frozenset[Key]:
    """The keys of an item: of its text, of that without its figures, and without its role too if all have one."""
    bare = FIGURE.sub("", text)
    texts = [text, bare, ROLE.sub("", bare)] if roles else [text, bare]
    return frozenset((key(one), asks(one)) for one in texts) - NO_NAMES


def _parts(text: str) -> Iterator[str]:
    """The text, and what follows its first colon or line: an introduction may name an item too."""
    yield text
    for separator in (": ", ":\n", "\n"):
        introduction, found, rest = text.partition(separator)
        if found and len(introduction.split()) <= INTRODUCTION and not hedges(introduction):
            yield rest


def _enumerates(expected: Sequence[Alternatives], text: str, ordered: bool, query: str) -> bool:
    spans = _spans(expected, text)
    if len(spans) > len(expected):
        spans = _longest(spans)
    if len(spans) != len(expected) or hedges(text[: spans[0][0]] if spans else text):
        return False
    found = [indices for _, _, indices in spans]
    if ordered:
        fits = all(index in indices for index, indices in enumerate(found))
    else:
        fits = pairs_up(found, [(index,) for index in range(len(expected))])
    return fits and _only_links(text, spans, LINK, query)


def _selects(expected: Sequence[Alternatives], text: str, query: str) -> bool:
    spans = [
        span
        for span in _spans(expected, text)
        if not echoes(text[: span[0]], text[span[0] : span[1]], text[span[1] :], query)
    ]
    return bool(spans) and not denies(text[: spans[0][0]]) and _only_links(text, spans, SOME_LINK, query)


def _spans(expected: Sequence[Alternatives], text: str) -> list[Span]:
    """Where spellings of the items stand, longer ones first so that none is found inside another."""
    items_of = defaultdict[str, set[int]](set)
    for index, alternatives in enumerate(expected):
        for one in alternatives:
            items_of[one].add(index)
    spans, masked = list[Span](), text
    for one in sorted(filter(partial(may_hold, text), items_of), key=len, reverse=True):
        hits = [hit.span() for hit in pattern(one).finditer(masked)]
        items = frozenset(items_of[one])
        spans += [(start, end, items) for start, end in hits]
        masked = _masked(masked, hits)
    return sorted(spans, key=lambda span: span[:2])


def _longest(spans: Sequence[Span]) -> list[Span]:
    """The spans without those of items of which a longer spelling stands elsewhere: `It` beside `It Chapter One`."""
    longest: dict[int, int] = {}
    for start, end, items in spans:
        for index in items:
            longest[index] = max(longest.get(index, 0), end - start)
    return [span for span in spans if any(longest[index] <= span[1] - span[0] for index in span[2])]


def _masked(text: str, hits: Sequence[tuple[int, int]]) -> str:
    """The text with the places of the hits blotted out."""
    edges = [0, *(edge for hit in hits for edge in hit), len(text)]
    kept = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    blots = ["\0" * (end - start) for start, end in hits] + [""]
    return "".join(part for pair in zip(kept, blots, strict=True) for part in pair)


def _only_links(text: str, spans: Sequence[Span], link: str, query: str) -> bool:
    """Whether nothing but separators stands between the items and after them, and a short introduction before."""
    before = text[: spans[0][0]]
    gaps = [text[left[1] : right[0]] for left, right in zip(spans, spans[1:], strict=False)] + [text[spans[-1][1] :]]
    if all(INLINE_ROLE.match(gap) for gap in gaps):
        gaps = [INLINE_ROLE.sub("", gap) for gap in gaps]
    gaps[-1] = _without_verb(gaps[-1], query)
    links = re.compile(rf"(?:{link})*", re.I)
    if not all(links.fullmatch(_bare(gap)) for gap in dict.fromkeys(gaps)):
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
    if len(before.split()) > INTRODUCTION or before.rstrip().endswith("?"):
        return False
    lead = before.rstrip(NUMBERING)
    return leads_up(lead if lead == before else f"{lead} ")
