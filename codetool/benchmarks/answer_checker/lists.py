"""Check lists in a final answer: JSON or Python literals, bullets, lines, or an enumeration in a sentence."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from codetool.benchmarks.answer_checker.literals import to_text
from codetool.benchmarks.answer_checker.pairing import has_perfect_matching
from codetool.benchmarks.answer_checker.text_match import (
    DECIMAL,
    YEAR,
    comparison_key,
    contains_words,
    denies,
    hedges,
    introduces_value,
    is_question,
    may_contain,
    repeats_query,
    strip_accents,
    value_pattern,
)

MAX_INTRODUCTION_WORDS = 16
"""Maximum words before the first item."""
SEPARATOR = (
    r"[\s!,;/|•*\-–—→<>\"'“”‘’().\[\]{}]|\b(?:and|then|finally|first|second|third|fourth|fifth)\b|\b\d{1,2}[.):]"
)
SOME_OF_SEPARATOR = rf"{SEPARATOR}|\b(?:or|also)\b"
ITEM_DETAIL = re.compile(
    rf"\((?:released:? )?(?:{YEAR}|{DECIMAL}(?:/10)?|(?:id:? *)?\d+)\)"
    rf"|(?::|,| [-–—|]) (?:{YEAR}|{DECIMAL}(?:/10)?)(?![\w-])"
)
"""Detail that may follow an item: its year, date, rating or id."""
ROLE = re.compile(r"\s*(?:\([^()]+\)|\bas\s+[^,;]++|\s[-–—]\s[^,;]++|:\s[^,;]++)\s*$")
"""Role that may follow the items of a list if it follows all of them: a character or a job."""
INLINE_ROLE = re.compile(r"^\s*(?:\([^()]+\)|as\s+(?:(?!\band\b)[^,;])+?)(?=\s*(?:[,;.\n]|$)|\s+and\b)")
NUMBERING = string.whitespace + string.digits + ".)*-•\u00a0\u202f"
"""Characters that may come between an introduction and the first item."""
ITEM_LABEL = re.compile(r"^[-•* \t]*+(?:title|name)\s*:", re.I | re.M)
ITEM_MARK = re.compile(r"^\s*(?:[-•*–]\s+|\d{1,2}[.):]\s+|#\d+\s+)?(?:(?:title|name)\s*:\s*)?", re.I)
SAME_LABEL = re.compile(r"([A-Za-z]+)\s*#?\d*\s*:\s+")
"""Label that lines may begin with if all begin with the same one: `Director: …`, `Genre 2: …`."""
Alternatives = Sequence[str]
"""Equally right spellings of one item."""
Key = tuple[str, bool]
"""Comparison key of a text, and whether the text is a question."""
EMPTY_KEYS = frozenset({("", False), ("", True)})
Span = tuple[int, int, frozenset[int]]
"""Start and end of a spelling in a text, and the indices of the items that have this spelling."""


def matches_list(expected: Sequence[Alternatives], value: Any, query: str = "", *, ordered: bool) -> bool:
    """Return whether the value lists exactly the expected items, each once, and in order if `ordered`.

    After the items a sentence may continue with a verb and words of the query.
    """
    if isinstance(value, list | tuple | set):
        return not (ordered and isinstance(value, set)) and _items_match(
            expected, [to_text(entry) for entry in value], ordered
        )
    if not isinstance(value, str):
        return False
    if any(_items_match(expected, lines, ordered) for lines in _split_lines(value)):
        return True
    return any(_sentence_lists(expected, part, ordered, query) for part in _split_introduction(strip_accents(value)))


def matches_some(expected: Sequence[Alternatives], value: Any, query: str = "") -> bool:
    """Return whether the value lists one or more of the expected items and nothing else that could be an item.

    An item that occurs only in a repetition of the query does not count.
    """
    if isinstance(value, list | tuple | set):
        return _all_expected(expected, [to_text(entry) for entry in value])
    if not isinstance(value, str):
        return False
    if any(_all_expected(expected, lines) for lines in _split_lines(value)):
        return True
    return any(_sentence_selects(expected, part, query) for part in _split_introduction(strip_accents(value)))


def _split_lines(text: str) -> Iterator[list[str]]:
    """Yield the lines as items: all of them, those after an introduction, and both without a shared label."""
    lines = [line for line in text.splitlines() if line.strip()]
    for rest in (lines, lines[1:] if lines and _is_introduction(lines[0]) else []):
        items = [ITEM_MARK.sub("", line).strip() for line in rest]
        if items:
            yield items
        labels = [SAME_LABEL.match(one) for one in items]
        if len(items) > 1 and len({label[1].casefold() if label else None for label in labels}) == 1:
            yield [SAME_LABEL.sub("", one) for one in items]


def _items_match(expected: Sequence[Alternatives], items: Sequence[str], ordered: bool) -> bool:
    if len(items) != len(expected):
        return False
    roles = _all_have_roles(items)
    expected_keys, given_keys = [_expected_keys(one) for one in expected], [_item_keys(other, roles) for other in items]
    if ordered:
        return all(one & other for one, other in zip(expected_keys, given_keys, strict=True))
    return has_perfect_matching(given_keys, expected_keys)


def _all_expected(expected: Sequence[Alternatives], items: Sequence[str]) -> bool:
    roles, valid_keys = _all_have_roles(items), frozenset[Key]().union(*map(_expected_keys, expected))
    return bool(items) and all(valid_keys & _item_keys(other, roles) for other in items)


def _all_have_roles(items: Sequence[str]) -> bool:
    return len(items) > 1 and all(ROLE.search(other) for other in items)


def _expected_keys(alternatives: Alternatives) -> frozenset[Key]:
    """Return the keys of these spellings; a question matches only a spelling that has a question mark."""
    return (
        frozenset((comparison_key(one), is_asked) for one in alternatives for is_asked in {False, "?" in one})
        - EMPTY_KEYS
    )


def _item_keys(text: str, roles: bool) -> frozenset[Key]:
    """Return the keys of an item: of its text, of the text without details, and if all have roles, without the role."""
    bare = ITEM_DETAIL.sub("", text)
    texts = [text, bare, ROLE.sub("", bare)] if roles else [text, bare]
    return frozenset((comparison_key(one), is_question(one)) for one in texts) - EMPTY_KEYS


def _split_introduction(text: str) -> Iterator[str]:
    """Yield the text, and the parts after its first colon or line, since an introduction may name an item too."""
    yield text
    for separator in (": ", ":\n", "\n"):
        introduction, matched, rest = text.partition(separator)
        if matched and len(introduction.split()) <= MAX_INTRODUCTION_WORDS and not hedges(introduction):
            yield rest


def _sentence_lists(expected: Sequence[Alternatives], text: str, ordered: bool, query: str) -> bool:
    spans = _find_spans(expected, text)
    if len(spans) > len(expected):
        spans = _keep_longest(spans)
    if len(spans) != len(expected) or hedges(text[: spans[0][0]] if spans else text):
        return False
    item_indices = [indices for _, _, indices in spans]
    if ordered:
        fits = all(index in indices for index, indices in enumerate(item_indices))
    else:
        fits = has_perfect_matching(item_indices, [(index,) for index in range(len(expected))])
    return fits and _has_only_separators(text, spans, SEPARATOR, query)


def _sentence_selects(expected: Sequence[Alternatives], text: str, query: str) -> bool:
    spans = [
        span
        for span in _find_spans(expected, text)
        if not repeats_query(text[: span[0]], text[span[0] : span[1]], text[span[1] :], query)
    ]
    return (
        bool(spans) and not denies(text[: spans[0][0]]) and _has_only_separators(text, spans, SOME_OF_SEPARATOR, query)
    )


def _find_spans(expected: Sequence[Alternatives], text: str) -> list[Span]:
    """Find the spellings of the items in the text, longer ones first so that none is found inside another."""
    items_of = defaultdict[str, set[int]](set)
    for index, alternatives in enumerate(expected):
        for one in alternatives:
            items_of[one].add(index)
    spans, masked = list[Span](), text
    for one in sorted(filter(partial(may_contain, text), items_of), key=len, reverse=True):
        matched_ranges = [match.span() for match in value_pattern(one).finditer(masked)]
        items = frozenset(items_of[one])
        spans += [(start, end, items) for start, end in matched_ranges]
        masked = _mask(masked, matched_ranges)
    return sorted(spans, key=lambda span: span[:2])


def _keep_longest(spans: Sequence[Span]) -> list[Span]:
    """Drop the spans of items that have a longer span elsewhere: `It` beside `It Chapter One`."""
    longest: dict[int, int] = {}
    for start, end, items in spans:
        for index in items:
            longest[index] = max(longest.get(index, 0), end - start)
    return [span for span in spans if any(longest[index] <= span[1] - span[0] for index in span[2])]


def _mask(text: str, matched_ranges: Sequence[tuple[int, int]]) -> str:
    """Replace the matched ranges of the text by NUL characters."""
    edges = [0, *(edge for matched_range in matched_ranges for edge in matched_range), len(text)]
    kept = [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
    blots = ["\0" * (end - start) for start, end in matched_ranges] + [""]
    return "".join(part for pair in zip(kept, blots, strict=True) for part in pair)


def _has_only_separators(text: str, spans: Sequence[Span], link: str, query: str) -> bool:
    """Return whether only separators follow the items, and only a short introduction precedes them."""
    before = text[: spans[0][0]]
    gaps = [text[left[1] : right[0]] for left, right in zip(spans, spans[1:], strict=False)] + [text[spans[-1][1] :]]
    if all(INLINE_ROLE.match(gap) for gap in gaps):
        gaps = [INLINE_ROLE.sub("", gap) for gap in gaps]
    gaps[-1] = _strip_verb(gaps[-1], query)
    links = re.compile(rf"(?:{link})*", re.I)
    if not all(links.fullmatch(_strip_details(gap)) for gap in dict.fromkeys(gaps)):
        return False
    return links.fullmatch(_strip_details(before)) is not None or _is_introduction(before)


def _strip_verb(tail: str, query: str) -> str:
    """Drop the rest of a sentence from its verb on (`… star in Titanic.`) if the query contains all its names."""
    verb = re.fullmatch(
        r"\s+(?:star|starred|are|were|appear|appeared|have|play|played|direct|directed|wrote|created|made)\b([^,;:]*)",
        tail,
    )
    names = re.findall(r"\b[A-Z]\w*", verb[1]) if verb else []
    return "" if verb and not denies(tail) and all(contains_words(name, query) for name in names) else tail


def _strip_details(gap: str) -> str:
    return re.sub(r"\b(?:the|a|an)\b", "", ITEM_LABEL.sub("", ITEM_DETAIL.sub("", gap)), flags=re.I)


def _is_introduction(before: str) -> bool:
    if len(before.split()) > MAX_INTRODUCTION_WORDS or before.rstrip().endswith("?"):
        return False
    lead = before.rstrip(NUMBERING)
    return introduces_value(lead if lead == before else f"{lead} ")
