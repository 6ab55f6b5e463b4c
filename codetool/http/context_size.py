"""Recognise errors about prompts that exceed a model's context, and read token limits from their messages.

Servers word these errors in many ways and count prompt and answer together. If the prompt alone fits, the same request
with a shorter answer succeeds.
"""

from __future__ import annotations

import re

from codetool.http.server_error import ServerError

_OVERFLOW_PATTERN = re.compile(
    r"context.{0,20}(length|window|size|limit)|context_length_exceeded|exceed_context_size|n_ctx|max_model_len|"
    r"maximum (prompt|sequence|model|input) length|(prompt|input|messages?|request)s? (is|are|was|were)? ?too long|"
    r"too many (input |prompt )?tokens|input tokens? (count )?.{0,30}exceed|inputs?\W{1,3}tokens|"
    r"input length.{0,40}exceed|exceeds? .{0,40}number of (input )?tokens|reduce (the|your) (length|prompt|input)|"
    r"must have less than \d+ tokens|longer than the model",
    re.IGNORECASE | re.DOTALL,
)
_ANSWER_CAP_PATTERNS = (
    r"(\d+) > (\d+)(?=, which is the maximum)",
    r"at most (\d+) (?:completion|output|new|generated)",
    r"max(?:_completion|_new|_output)?_tokens\W{0,3} ?(?:value)?.{0,60}?(?:less than or equal to|at most|<=|up to|"
    r"cannot exceed|can not exceed|must not exceed)\W*(\d+)",
    r"range of \W?max(?:_completion|_new|_output)?_tokens\W? (?:is|should be|must be) [\[(]?\d+, ?(\d+)",
    r"max(?:_completion|_new|_output)?_tokens.{0,60}?between \d+ and (\d+)",
    r"maximum (?:output|completion|generation) (?:tokens|length)\D{0,30}(\d+)",
)
"""Messages about a maximum answer length that does not depend on the prompt."""
_PROMPT_AND_LIMIT_PATTERNS = (r"(?P<prompt>\d+) ?\+ ?\d+ ?> ?(?P<limit>\d+)", r"\d+ > (?P<limit>\d+) - (?P<prompt>\d+)")
_LIMIT_PATTERNS = (
    r"n_ctx\D{0,4}(\d+)",
    r"(?:context|model|sequence|prompt|input)(?:'s)?[ _](?:length|window|size|limit|len)\D{0,40}?(\d+)",
    r"(\d+)[ -](?:tokens?[ -])?(?:maximum |max(?:imum)? )?context",
    r"(?:must be|should be|have) (?:<=|less than or equal to|less than|at most|no more than|up to)\W{1,2}(\d+)",
    r"(?:maximum|max|limit|at most|up to|supports)\D{0,40}?(\d+)",
    r"> ?(\d+)",
)
_PROMPT_PATTERNS = (
    r"n_(?:prompt_tokens|keep)\D{0,4}(\d+)",
    r"(\d+) (?:tokens? )?(?:in|of|from) (?:the |your )?(?:messages?|prompt|text input|input)",
    r"(\d+) \W?(?:inputs?|prompt)\W? tokens?",
    r"(?:prompt|inputs?|messages|request)\b(?! length)[^.\d]{0,50}?(\d+)",
)
_TOTAL_PATTERNS = (
    r"requested (?:about |at least |a total of |approximately )?(\d+) (?:total )?tokens",
    r"total of \D{0,12}(\d+)",
)

MAX_DIGITS = 18
"""Number of digits kept of a number: searching long ones takes long, and Python converts none of 5,000 digits."""


def is_overflow(error: ServerError) -> bool:
    """Whether a server refuses a request because prompt and answer together exceed the context."""
    if error.status == 500:  # older versions of llama.cpp's server
        return "available context size" in error.message
    return error.status in {400, 413, 422} and _OVERFLOW_PATTERN.search(f"{error.code} {error.message}") is not None


def find_answer_cap(error: ServerError, max_tokens: int) -> int | None:
    """Return the model's maximum answer length in tokens if the error names one below `max_tokens`."""
    text = _format_numbers(error)
    caps = [
        int(match.groups()[-1])
        for pattern in _ANSWER_CAP_PATTERNS
        if (match := re.search(pattern, text, re.IGNORECASE))
    ]
    return next((cap for cap in caps if 0 < cap < max_tokens), None)


def find_answer_room(error: ServerError, max_tokens: int) -> int | None:
    """Return the tokens that the context leaves for an answer, below `max_tokens`; None if there are none."""
    text = _format_numbers(error)
    prompt_and_limit = next(filter(None, (re.search(pattern, text) for pattern in _PROMPT_AND_LIMIT_PATTERNS)), None)
    limit = int(prompt_and_limit["limit"]) if prompt_and_limit else _find_number(_LIMIT_PATTERNS, text)
    if limit is None:
        return None
    prompt = (
        int(prompt_and_limit["prompt"]) if prompt_and_limit else _find_number(_PROMPT_PATTERNS, text, excluded={limit})
    )
    if (
        prompt is None
        and (total := _find_number(_TOTAL_PATTERNS, text, excluded={limit})) is not None
        and total > max_tokens
    ):
        prompt = total - max_tokens
    if prompt is None:
        return limit // 2 if 1 < limit <= max_tokens else None
    room = limit - prompt
    if re.search(rf"at least {prompt}\b", text):  # the server stopped counting: the prompt may be longer
        room = min(room, max_tokens // 2)
    return room if 0 < room < max_tokens else None


def _format_numbers(error: ServerError) -> str:
    """Return the error's message and numbers as text, without thousands separators and with short numbers."""
    numbers = " ".join(f"{name}: {value}" for name, value in (error.numbers or {}).items())
    text = re.sub(r"(?<=\d)[,_](?=\d{3}\b)", "", f"{numbers} {error.message}")
    return re.sub(r"\d{18}\d+", lambda match: match[0][:MAX_DIGITS], text)


def _find_number(patterns: tuple[str, ...], text: str, excluded: set[int] | None = None) -> int | None:
    """Return the first number that a pattern matches and that is not among `besides`."""
    for pattern in patterns:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if int(match[1]) not in (excluded or ()):
                return int(match[1])
    return None
