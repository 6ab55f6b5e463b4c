"""What a judge said, read tolerantly: a field named anywhere in the text, or a bare word at its start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from codetool.prompts.model_text import extract_visible_text

Label = Literal["Solved", "Unsure", "Unsolved"]
"""A vote on an answer."""
Choice = Literal["first", "second", "equal"]
"""A vote on two answers: which of them is better."""

MAX_REASON_CHARS = 500
"""Characters of a reason that are kept."""

_LABELS: dict[str, Label] = {
    "solved": "Solved", "unsure": "Unsure", "unsolved": "Unsolved", "yes": "Solved", "no": "Unsolved",
}  # fmt: skip
_CHOICES: dict[str, Choice] = {"first": "first", "second": "second", "equal": "equal"}
_WORD_END = r"(?![^\W\d_])"
"""No letter follows: a word that some models end with digits is still the word."""
_SEPARATOR = r"[\"'*]*[ \t]*(?:[:=]|\n)[\s\"'*]*"
_STATUS_FIELD = re.compile(rf"answer[\s_]*status{_SEPARATOR}(solved|unsure|unsolved){_WORD_END}", re.IGNORECASE)
_BETTER_FIELD = re.compile(rf"better{_SEPARATOR}(first|second|equal){_WORD_END}", re.IGNORECASE)
_CLAUSE_END = r"(?=[\"'*]*\s*(?:[.!;:\n]|$))"
"""A choice in a word of its own, not the beginning of a list of thoughts."""


def parse_label(text: str) -> Label | None:
    """The vote that a text casts on an answer, None for none. Yes and no stand for Solved and Unsolved."""
    return _LABELS.get(
        _find_verdict(text, "answer_status", _STATUS_FIELD, f"(solved|unsure|unsolved|yes|no){_WORD_END}")
    )


def parse_choice(text: str) -> Choice | None:
    """Which of two answers a text calls better, None where it does not say."""
    return _CHOICES.get(_find_verdict(text, "better", _BETTER_FIELD, f"(first|second|equal){_WORD_END}{_CLAUSE_END}"))


def extract_reason(text: str) -> str:
    """The reason that a text gives, else its own words, in at most 500 characters."""
    said = extract_reply(text)
    given = next((str(found["reason"]) for found in _find_json_objects(said) if found.get("reason")), said)
    return " ".join(given.split())[:MAX_REASON_CHARS]


def extract_reply(text: str) -> str:
    """The text without a model's thoughts and end-of-text tokens; empty if it never stopped thinking."""
    return extract_visible_text(text).strip()


def _find_verdict(text: str, field: str, named: re.Pattern[str], bare: str) -> str:
    """The word in that field of a JSON object, else the one named so last in the text, else the one that begins it.

    In lower case; empty for none. A reason may hold any word, so what an object says goes first.
    """
    said = extract_reply(text)
    given = [str(each[field]).strip().lower() for each in _find_json_objects(said) if isinstance(each.get(field), str)]
    if given:
        return given[-1]
    found = named.findall(said)
    if found:
        return str(found[-1]).lower()
    begins = re.match(rf"\W*{bare}", said, re.IGNORECASE)
    return begins[1].lower() if begins else ""


def _find_json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text."""
    decoder = json.JSONDecoder(strict=False)
    for brace in re.finditer(r"\{", text):
        try:
            found, _ = decoder.raw_decode(text, brace.start())
        except ValueError:
            continue
        yield found
