"""Check a final answer against the right one: a comparison by type, lenient about form and strict about content.

Guarantees:

- **Form never matters**: case, accents, punctuation, leading articles, quotes, Markdown, bullets and numbering, JSON or
  Python notation, a label (`Director: …`), a short sentence around the value, the style of numbers and dates.
- **One answer**: several values where one is asked for, alternatives, doubt, denial, questions, error messages, raw
  data and a repetition of the query do not pass. A dict may contain context beside its answer: numbers, ids, values
  that the query names, the title that a person belongs to, or the person of a title.
- `name`, `title`: the same words, alone or in a sentence with at most `MAX_WORDS` other words.
- `number`: an integer exactly; any other number rounded to at least one decimal (8.516 as 8.52 or 8.5, not as 9).
  `8.4/10`, `1.2 million`, `2h 28m` and number words are parsed. The number of `Season 5` is part of a name and does not
  count; a unit other than the one that the query asks for is wrong.
- `date`: that day and no other. `yes_no`: the word, as a reply.
- `url`: that URL and no other; an image path equals its full URL in any size.
- `list`: exactly the values, each once; `ordered_list`: in their order; `some_of`: one or more of them, nothing else.
  Items may have a year, date or rating, and all of them a role (`Tom Hardy as Farrier`). Dates, numbers and URLs are
  compared by value, long texts (reviews) by their words, complete or from the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codetool.answers.final_answer import MAX_ANSWER_CHARS
from codetool.benchmarks.answer_checker.dates import extract_dates, extract_dates_in_order
from codetool.benchmarks.answer_checker.lists import matches_list, matches_some
from codetool.benchmarks.answer_checker.literals import (
    MIN_TRUNCATED_CHARS,
    looks_like_raw_json,
    parse_labelled_fields,
    parse_literal,
    unwrap,
)
from codetool.benchmarks.answer_checker.long_texts import contains_long_texts, is_long_text
from codetool.benchmarks.answer_checker.numbers import approximately_equal, extract_values, main_number
from codetool.benchmarks.answer_checker.pairing import has_perfect_matching
from codetool.benchmarks.answer_checker.text_match import (
    count_words,
    gives_bound,
    hedges,
    names_equal,
    sentence_states,
    strip_query,
)
from codetool.benchmarks.answer_checker.urls import extract_urls, normalize_url, strip_urls
from codetool.types import JSON, Answer, AnswerType

MAX_WORDS = 30
"""Maximum words beside the value in an answer; a longer text counts as raw data."""
MAX_LINES = 3
YES_OR_NO = re.compile(
    r"(?:^|[,;/:.]|\b(?:and|or|but|is)\b|=)\s*(yes|no|true|false)(?=\s*(?:$|[,;/.!]|and\b|or\b))", re.I
)
"""Matches each yes or no that is a clause of its own; all of them must agree."""
REPLY = re.compile(
    r"(yes|no|true|false)(?=[\s.!]*$|\s*[,;:.!–—-]|\s+(?:he|she|it|they|both|neither|this|that)\b)", re.I
)
"""Matches yes or no as a reply, not as a word of a sentence such as `no results`."""


def matches(answer: Answer, text: str | None, query: str = "") -> bool:
    """Return whether `text`, a printed final answer, states the right answer and nothing that contradicts it.

    Only the first `MAX_ANSWER_CHARS` characters count. `query` is the task's query: a repetition of it is no answer,
    and it tells which unit a number must have.
    """
    text = (text or "")[:MAX_ANSWER_CHARS]
    reply_text = strip_query(re.sub(r"[ \t]{2,}", " ", text), query)
    if not reply_text.strip():
        return False
    # Names are compared before `1917` and `Infinity` are parsed as numbers.
    if answer.type in ("name", "title") and _text_equals(answer, reply_text):
        return True
    return _CHECKS[answer.type](answer, unwrap(parse_literal(reply_text), answer.type, query), query)


def _alternatives(value: JSON) -> list[Any]:
    """Return the equally right values: the entries of a list, or the single value."""
    return list(value) if isinstance(value, list) else [value]


def _text_equals(answer: Answer, text: str) -> bool:
    return any(names_equal(str(one), text) for one in _alternatives(answer.value))


def _text_matches(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    reply_text = "\n".join(dict.fromkeys(line.strip() for line in str(value).splitlines() if line.strip()))
    pairs = None if _text_equals(answer, reply_text) else parse_labelled_fields(reply_text)
    if pairs is not None:
        reply_text = str(unwrap(pairs, answer.type, query) or "")
    holds = any(sentence_states(str(one), reply_text, MAX_WORDS, query) for one in _alternatives(answer.value))
    return _text_equals(answer, reply_text) or holds


def _number_matches(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value)
    if not _is_short(text, MAX_LINES) or gives_bound(text) or extract_dates(text):
        return False
    extracted = main_number(text, query)
    return extracted is not None and any(
        approximately_equal(extracted, float(one)) for one in _alternatives(answer.value)
    )


def _date_matches(answer: Answer, value: Any, query: str) -> bool:
    if not isinstance(value, str) or not _is_short(value, MAX_LINES) or gives_bound(value):
        return False
    extracted = extract_dates(value) - extract_dates(query) or extract_dates(value)
    return extracted != set() and extracted <= set(_alternatives(answer.value))


def _yes_no_matches(answer: Answer, value: Any, query: str) -> bool:
    if isinstance(value, bool):
        return value is answer.value
    if not isinstance(value, str) or not _is_short(value, MAX_LINES, denial=False):
        return False
    conclusion = re.split(r"[:=?]|\b(?:answer|result|it|that|this)\s+is\b", value, flags=re.I)[-1].strip(" \"'“”{}[]")
    reply = REPLY.match(value.lstrip(" \"'“”")) or REPLY.match(conclusion)
    stated = {word.lower() in ("yes", "true") for word in [*YES_OR_NO.findall(value), *([reply[1]] if reply else [])]}
    return reply is not None and stated == {answer.value}


def _url_matches(answer: Answer, value: Any, query: str) -> bool:
    if not isinstance(value, str) or not _is_short(strip_urls(value), MAX_LINES):
        return False
    extracted = set(extract_urls(value)) or {normalize_url(value)}
    return extracted <= {normalize_url(str(one)) for one in _alternatives(answer.value)}


def _list_matches(answer: Answer, value: Any, query: str) -> bool:
    items = [[str(one) for one in _alternatives(entry)] for entry in answer.value]
    counts = all(isinstance(one, int | float) for entry in answer.value for one in _alternatives(entry))
    if all(is_long_text(one) or "\n" in one for spellings in items for one in spellings):
        return answer.type == "some_of" and contains_long_texts(
            [one for spellings in items for one in spellings], value
        )
    for form, extract in EXTRACTORS if counts else EXTRACTORS[1:]:
        if items and all(re.fullmatch(form, one) and extract(one) for spellings in items for one in spellings):
            expected = [[extract(one)[0] for one in spellings] for spellings in items]
            return _extracted_values_match(expected, value, extract, answer.type)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if answer.type == "some_of":
        value = _drop_truncated_item(value)
        sentence = isinstance(value, str) and any(sentence_states(one, value, MAX_WORDS, query) for [one, *_] in items)
        return sentence or matches_some(items, value, query)
    return matches_list(items, value, query, ordered=answer.type == "ordered_list")


def _extracted_values_match(
    expected: Sequence[Sequence[Any]], value: Any, extract: Callable[[str], Sequence[Any]], kind: AnswerType
) -> bool:
    """Return whether the dates, numbers or URLs in the value are the expected ones, ignoring the words between them."""
    text = value if isinstance(value, str) else "" if value is None or looks_like_raw_json(value) else str(value)
    extracted, bare = list(extract(text)), strip_urls(text)
    if not extracted or count_words(bare) > MAX_WORDS + MAX_WORDS * len(extracted) // 2 or hedges(bare):
        return False
    if kind == "some_of":
        return set(extracted) <= {one for spellings in expected for one in spellings}
    if kind == "list":
        return has_perfect_matching([(one,) for one in extracted], expected)
    return len(extracted) == len(expected) and all(
        one in spellings for one, spellings in zip(extracted, expected, strict=True)
    )


def _drop_truncated_item(value: Any) -> Any:
    """Remove the last item of a text long enough that the answer's limit may have truncated it."""
    return (
        re.sub(r"[\n,][^\n,]*\Z", "", value) if isinstance(value, str) and len(value) >= MIN_TRUNCATED_CHARS else value
    )


def _is_short(text: str, lines: int = 1, *, denial: bool = True) -> bool:
    return len(text.splitlines()) <= lines and count_words(text) <= MAX_WORDS and not hedges(text, denial)


EXTRACTORS: Sequence[tuple[str, Callable[[str], Sequence[Any]]]] = (
    (r"-?\d+(?:\.\d+)?", extract_values),
    (r"\d{4}-\d\d-\d\d", extract_dates_in_order),
    (r"(?:https?:/)?/\S+", extract_urls),
)
"""Patterns of list items that are compared by value, each with the function that extracts the values from a text."""
_CHECKS: Mapping[AnswerType, Callable[[Answer, Any, str], bool]] = {
    "name": _text_matches,
    "title": _text_matches,
    "number": _number_matches,
    "date": _date_matches,
    "yes_no": _yes_no_matches,
    "url": _url_matches,
    "list": _list_matches,
    "ordered_list": _list_matches,
    "some_of": _list_matches,
}
