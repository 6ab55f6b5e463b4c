"""Parse a judge's reply: the verdict is a named field anywhere in the text, or a single word at its start."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from codetool.prompts.model_text import extract_visible_text

Label = Literal["Solved", "Unsure", "Unsolved"]
"""A vote on an answer."""
Choice = Literal["first", "second", "equal"]
"""A vote on which of two answers is better."""

MAX_JSON_CHARS = 10_000
"""Length of the end of a reply in which JSON is sought, since each brace may begin an object."""
MAX_REASON_CHARS = 500
"""Maximum length of a stored reason in characters."""

_LABELS: dict[str, Label] = {
    "solved": "Solved", "unsure": "Unsure", "unsolved": "Unsolved", "yes": "Solved", "no": "Unsolved",
}  # fmt: skip
_CHOICES: dict[str, Choice] = {"first": "first", "second": "second", "equal": "equal"}
_WORD_END = r"(?![^\W\d_])"
"""No letter follows. Digits may, since some models append them to the word."""
_SEPARATOR = r"[\"'*]*[ \t]*(?:[:=]|\n)[\s\"'*]*"
_STATUS_FIELD = re.compile(rf"answer[\s_]*status{_SEPARATOR}(solved|unsure|unsolved){_WORD_END}", re.IGNORECASE)
_BETTER_FIELD = re.compile(rf"better{_SEPARATOR}(first|second|equal){_WORD_END}", re.IGNORECASE)
_CLAUSE_END = r"(?=[\"'*]*\s*(?:[.!;:\n]|$))"
"""The clause ends here: the word is the reply itself and not the start of a longer text."""


def parse_label(text: str) -> Label | None:
    """Return the label that a reply gives an answer, None if it gives none. Yes and no mean Solved and Unsolved."""
    return _LABELS.get(
        _find_verdict(text, "answer_status", _STATUS_FIELD, f"(solved|unsure|unsolved|yes|no){_WORD_END}")
    )


def parse_choice(text: str) -> Choice | None:
    """Return which of two answers a reply calls better, None if it names none."""
    return _CHOICES.get(_find_verdict(text, "better", _BETTER_FIELD, f"(first|second|equal){_WORD_END}{_CLAUSE_END}"))


def extract_reason(text: str) -> str:
    """Return the reason that a reply states, else the whole reply, in at most MAX_REASON_CHARS characters."""
    reply = extract_reply(text)
    objects = _find_json_objects(reply)
    reason = next((str(content["reason"]) for content in objects if content.get("reason")), reply)
    return " ".join(reason.split())[:MAX_REASON_CHARS]


def extract_reply(text: str) -> str:
    """Return the text without reasoning and end-of-text tokens; empty if the reasoning never ended."""
    return extract_visible_text(text).strip()


def _find_verdict(text: str, field: str, named: re.Pattern[str], bare: str) -> str:
    """Return the verdict in lower case, empty for none.

    It is the value of `field` in the last JSON object that has one, else the last match of `named`, else a match of
    `bare` at the start. JSON goes first, since a stated reason may hold any word.
    """
    reply = extract_reply(text)
    values = [
        str(json_object[field]).strip().lower()
        for json_object in _find_json_objects(reply)
        if isinstance(json_object.get(field), str)
    ]
    if values:
        return values[-1]
    matches = named.findall(reply)
    if matches:
        return str(matches[-1]).lower()
    first_word = re.match(rf"\W*{bare}", reply, re.IGNORECASE)
    return first_word[1].lower() if first_word else ""


def _find_json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in the last `MAX_JSON_CHARS` characters of a text."""
    text = text[-MAX_JSON_CHARS:]
    decoder = json.JSONDecoder(strict=False)
    for brace in re.finditer(r"\{", text):
        try:
            content, _ = decoder.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        yield content
