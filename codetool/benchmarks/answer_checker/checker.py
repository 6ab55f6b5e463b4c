"""Whether a final answer says the checked value: typed comparison, lenient about form and strict about content.

What a user can rely on:

- **Form never matters**: case, accents, punctuation, leading articles, quotes, Markdown, bullets and numbering, JSON or
  Python notation, a label (`Director: …`), a short sentence around the value, the style of numbers and dates.
- **One answer**: several values where one is asked for, alternatives, doubt, denial, questions, error messages and
  dumped data do not pass; nor does the query said back. A dict may hold context beside its answer: figures, ids, what
  the query says itself, the title that a person belongs to or the person that a title does.
- `name`, `title`: the same words, alone or named by a sentence of at most `WORDS` other words.
- `number`: an integer exactly; any other number rounded to one decimal at least (8.516 as 8.52 or 8.5, not as 9).
  `8.4/10`, `1.2 million`, `2h 28m` and words are read. `Season 5` counts nothing, and a unit other than the one that
  the query asks for is wrong.
- `date`: that day and no other. `yes_no`: the word, as a reply.
- `url`: that address and no other; an image path equals its full address in any size.
- `list`: exactly the values, each once; `ordered_list`: in their order; `some_of`: one or more of them, nothing else.
  Items may carry a year, date or rating, and all of them a role (`Tom Hardy as Farrier`). Dates, numbers and addresses
  are compared as such; long texts (reviews) by their words, whole or from the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codetool.benchmarks.answer_checker.dates import dates, dates_in_order
from codetool.benchmarks.answer_checker.lists import is_listing, is_selection
from codetool.benchmarks.answer_checker.literals import CUT, fields, is_dump, opened, read
from codetool.benchmarks.answer_checker.long_texts import holds_passages, is_passage
from codetool.benchmarks.answer_checker.numbers import close, numbers, the_figure
from codetool.benchmarks.answer_checker.pairing import pairs_up
from codetool.benchmarks.answer_checker.text_match import bounds, equal, hedges, length, sentence_holds, without_echo
from codetool.benchmarks.answer_checker.urls import address, addresses, without_addresses
from codetool.types import JSON, Answer, AnswerType

WORDS = 30
"""Longest text, in words beyond the value, that still counts as an answer and not as a dump."""
LINES = 3
REPLY = re.compile(r"(?:^|[,;/:.]|\b(?:and|or|but|is)\b|=)\s*(yes|no|true|false)(?=\s*(?:$|[,;/.!]|and\b|or\b))", re.I)
"""Every yes or no that stands by itself: they must agree."""
VERDICT = re.compile(
    r"(yes|no|true|false)(?=[\s.!]*$|\s*[,;:.!–—-]|\s+(?:he|she|it|they|both|neither|this|that)\b)", re.I
)
"""Yes or no as a reply, not as a word of a sentence: `no` of `no results` is none."""


def matches(answer: Answer, text: str | None, query: str = "") -> bool:
    """Whether `text`, a final answer as printed, gives the checked answer and nothing that contradicts it.

    `query` is the task's: what only repeats it is no answer, and it says what a number counts.
    """
    said = without_echo(re.sub(r"[ \t]{2,}", " ", text or ""), query)
    if not said.strip():
        return False
    if answer.type in ("name", "title") and _equals(answer, said):  # before `1917` and `Infinity` become numbers
        return True
    return _CHECKS[answer.type](answer, opened(read(said), answer.type, query), query)


def _spellings(value: JSON) -> list[Any]:
    """The equally right values: a list's entries, or the one value."""
    return list(value) if isinstance(value, list) else [value]


def _equals(answer: Answer, text: str) -> bool:
    return any(equal(str(one), text) for one in _spellings(answer.value))


def _text(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    said = "\n".join(dict.fromkeys(line.strip() for line in str(value).splitlines() if line.strip()))
    pairs = None if _equals(answer, said) else fields(said)
    if pairs is not None:
        said = str(opened(pairs, answer.type, query) or "")
    holds = any(sentence_holds(str(one), said, WORDS, query) for one in _spellings(answer.value))
    return _equals(answer, said) or holds


def _number(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value)
    if not _short(text, LINES) or bounds(text) or dates(text):
        return False
    found = the_figure(text, query)
    return found is not None and any(close(found, float(one)) for one in _spellings(answer.value))


def _date(answer: Answer, value: Any, query: str) -> bool:
    if not isinstance(value, str) or not _short(value, LINES) or bounds(value):
        return False
    found = dates(value) - dates(query) or dates(value)
    return found != set() and found <= set(_spellings(answer.value))


def _yes_no(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool):
        return value is answer.value
    if not isinstance(value, str) or not _short(value, LINES, denial=False):
        return False
    conclusion = re.split(r"[:=?]|\b(?:answer|result|it|that|this)\s+is\b", value, flags=re.I)[-1].strip(" \"'“”{}[]")
    reply = VERDICT.match(value.lstrip(" \"'“”")) or VERDICT.match(conclusion)
    said = {hit.lower() in ("yes", "true") for hit in [*REPLY.findall(value), *([reply[1]] if reply else [])]}
    return reply is not None and said == {answer.value}


def _url(answer: Answer, value: Any, query: str) -> bool:
    if not isinstance(value, str) or not _short(without_addresses(value), LINES):
        return False
    found = set(addresses(value)) or {address(value)}
    return found <= {address(str(one)) for one in _spellings(answer.value)}


def _listed(answer: Answer, value: Any, query: str) -> bool:
    items = [[str(one) for one in _spellings(entry)] for entry in answer.value]
    counts = all(isinstance(one, int | float) for entry in answer.value for one in _spellings(entry))
    if all(is_passage(one) or "\n" in one for spellings in items for one in spellings):
        return answer.type == "some_of" and holds_passages([one for spellings in items for one in spellings], value)
    for form, extract in EXTRACTS if counts else EXTRACTS[1:]:
        if items and all(re.fullmatch(form, one) and extract(one) for spellings in items for one in spellings):
            wanted = [[extract(one)[0] for one in spellings] for spellings in items]
            return _same_values(wanted, value, extract, answer.type)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if answer.type == "some_of":
        value = _whole_items(value)
        sentence = isinstance(value, str) and any(sentence_holds(one, value, WORDS, query) for [one, *_] in items)
        return sentence or is_selection(items, value, query)
    return is_listing(items, value, query, ordered=answer.type == "ordered_list")


def _same_values(
    wanted: Sequence[Sequence[Any]], value: Any, extract: Callable[[str], Sequence[Any]], kind: AnswerType
) -> bool:
    """Whether the dates, numbers or addresses in the value are the wanted ones, whatever words stand between them."""
    text = value if isinstance(value, str) else "" if value is None or is_dump(value) else str(value)
    found, bare = list(extract(text)), without_addresses(text)
    if not found or length(bare) > WORDS + WORDS * len(found) // 2 or hedges(bare):
        return False
    if kind == "some_of":
        return set(found) <= {one for spellings in wanted for one in spellings}
    if kind == "list":
        return pairs_up([(one,) for one in found], wanted)
    return len(found) == len(wanted) and all(one in spellings for one, spellings in zip(found, wanted, strict=True))


def _whole_items(value: Any) -> Any:
    """The text without its last item where the limit of an answer may have cut that."""
    return re.sub(r"[\n,][^\n,]*\Z", "", value) if isinstance(value, str) and len(value) >= CUT else value


def _short(text: str, lines: int = 1, *, denial: bool = True) -> bool:
    return len(text.splitlines()) <= lines and length(text) <= WORDS and not hedges(text, denial)


EXTRACTS: Sequence[tuple[str, Callable[[str], Sequence[Any]]]] = (
    (r"-?\d+(?:\.\d+)?", numbers),
    (r"\d{4}-\d\d-\d\d", dates_in_order),
    (r"(?:https?:/)?/\S+", addresses),
)
"""The form of values that lists are compared by, and how they are found in a text."""
_CHECKS: Mapping[AnswerType, Callable[[Answer, Any, str], bool]] = {
    "name": _text,
    "title": _text,
    "number": _number,
    "date": _date,
    "yes_no": _yes_no,
    "url": _url,
    "list": _listed,
    "ordered_list": _listed,
    "some_of": _listed,
}
