"""Mask secrets in texts that are written to files or leave the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence

from codetool.credentials.secret_names import is_secret_variable

MIN_SECRET_CHARS = 8
"""Characters. A shorter value may be part of an ordinary word, so it is masked only as a whole value of an option."""
ORDINARY_VALUE = re.compile(r"(?i).{0,3}|\d+|true|false|null|none")
"""Short values that are no secrets, whatever the variable's name is."""
MASK = "[secret]"
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]+(?=@)")
_QUERY_ARGUMENT = re.compile(
    r"(?i)([?&;][\w.-]*(?:key|token|secret|passw|credential|auth|sig|pwd)[\w.-]*=)[^&;#\s'\"\]},]+"
)
_KNOWN_SHAPE = re.compile(r"\b(?:sk|pk|rk|hf|ghp|gho|github_pat|glpat|xai|gsk|nvapi|AIza)[-_]?[A-Za-z0-9_-]{16,}")
"""Keys of well-known services, by how they begin."""


def find_secret_values(names: Collection[str] = ()) -> list[str]:
    """Values of at least eight characters of variables that hold secrets, the longest first.

    `names` are variables that are known to hold one, whatever they are called.
    """
    values = {value for name, value in os.environ.items() if name in names or is_secret_variable(name)}
    return sorted((value for value in values if len(value) >= MIN_SECRET_CHARS), key=len, reverse=True)


def mask_command(words: Sequence[str], names: Collection[str] = ()) -> list[str]:
    """The words of a command line without secrets.

    Masked are values of secret variables, user and password of URLs, query arguments that are named like secrets, and
    what has the shape of a well-known service's key.
    """
    long, short = find_secret_values(names), _find_short_values(names)
    return [_mask_argument(word, long, short) for word in words]


def _mask_argument(word: str, long: Sequence[str], short: Collection[str]) -> str:
    for secret in long:
        word = word.replace(secret, MASK)
    name, equals, value = word.rpartition("=")
    if value.strip("\"'[]") in short:
        word = f"{name}{equals}{MASK}"
    word = _URL_CREDENTIALS.sub(MASK, word)
    word = _QUERY_ARGUMENT.sub(rf"\1{MASK}", word)
    return _KNOWN_SHAPE.sub(MASK, word)


def _find_short_values(names: Collection[str]) -> set[str]:
    """Values of secret variables that are too short to be cut out of other words."""
    values = {value for name, value in os.environ.items() if name in names or is_secret_variable(name)}
    return {value for value in values if len(value) < MIN_SECRET_CHARS and not ORDINARY_VALUE.fullmatch(value)}
