"""Mask secrets in texts that are written to files or sent to other machines, such as the recorded command line."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from codetool.credentials.secret_names import SERVICE_KEY_PREFIX, is_secret_variable, may_be_secret_argument

MIN_SECRET_CHARS = 8
"""Characters. A shorter value may be part of an ordinary word: it is masked only as the whole value of an option."""
ORDINARY_VALUE = re.compile(r"(?i).{0,3}|\d+|true|false|null|none")
"""Short values that are not secrets, whatever the variable's name is."""
MASK = "[secret]"
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s'\"]+(?=@)")
_QUERY_ARGUMENT = re.compile(r"([?&;]([\w.-]+)=)[^&;#\s'\"\]},]+")
_SIGNATURE = re.compile(r"sig|pwd", re.IGNORECASE)
_SERVICE_KEY = re.compile(rf"\b{SERVICE_KEY_PREFIX}[A-Za-z0-9_-]{{16,}}")


def find_secret_values(names: Collection[str] = ()) -> list[str]:
    """Return the values of environment variables that hold secrets, at least eight characters each, the longest first.

    `names` are variables that hold a secret whatever their name.
    """
    values = {value for name, value in os.environ.items() if name in names or is_secret_variable(name)}
    return sorted((value for value in values if len(value) >= MIN_SECRET_CHARS), key=len, reverse=True)


@lru_cache(256)
def list_spellings(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and in the forms that code and servers give to it: percent-encoded, JSON and Base64.

    Base64 is that of the secret alone, and the part of it that is the same wherever the secret stands in a text, such
    as behind a user in Basic authentication.
    """
    content = secret.encode("utf-8", "surrogateescape")
    plain = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], secret.replace("/", r"\/")}
    percent = {quote(content, safe=""), quote(content), quote_plus(content)}
    base64 = {encode(content).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode)}
    forms = plain | percent | base64 | _list_base64_parts(content)
    return tuple(sorted(forms, key=len, reverse=True))


def _list_base64_parts(content: bytes) -> set[str]:
    """Return the letters of Base64 that depend on the content alone, for each place at which it can begin."""
    parts = set()
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(content)) // 6
        parts |= {encode(bytes(before) + content).decode()[first:last] for encode in (b64encode, urlsafe_b64encode)}
    return parts


def replace_spellings(text: str, spellings: Sequence[str], replacement: str = MASK) -> str:
    """Return the text with each spelling replaced, in lower and upper case too."""
    lowered = text.lower()
    for spelling in spellings:
        if spelling.lower() in lowered:
            text = re.sub(re.escape(spelling), replacement, text, flags=re.IGNORECASE)
            lowered = text.lower()
    return text


def mask_text(text: str, names: Collection[str] = ()) -> str:
    """Return a message or a log line with secrets replaced by `[secret]`, the same ones as in `mask_command`.

    `names` are variables that hold a secret whatever their name.
    """
    for secret in find_secret_values(names):
        text = replace_spellings(text, list_spellings(secret))
    text = _QUERY_ARGUMENT.sub(_mask_query_argument, _URL_CREDENTIALS.sub(MASK, text))
    return _SERVICE_KEY.sub(MASK, text)


def mask_json(content: Any, spellings: Sequence[str]) -> Any:
    """Return decoded JSON whose texts have `[secret]` in place of each spelling of a secret; names of fields stay."""
    if isinstance(content, str):
        return replace_spellings(content, spellings)
    if isinstance(content, dict):
        return {name: mask_json(value, spellings) for name, value in content.items()}
    return [mask_json(value, spellings) for value in content] if isinstance(content, list) else content


def mask_command(arguments: Sequence[str], names: Collection[str] = ()) -> list[str]:
    """Return the arguments of a command line with secrets replaced by `[secret]`.

    Replaced are values of secret variables, user and password of URLs, query arguments that are named like secrets, and
    texts that look like a well-known service's key. `names` are variables that hold a secret whatever their name.
    """
    long, short = find_secret_values(names), _find_short_values(names)
    return [_mask_argument(argument, long, short) for argument in arguments]


def _mask_argument(argument: str, long: Sequence[str], short: Collection[str]) -> str:
    for secret in long:
        argument = replace_spellings(argument, list_spellings(secret))
    name, equals, value = argument.rpartition("=")
    if value.strip("\"'[]") in short:
        argument = f"{name}{equals}{MASK}"
    argument = _URL_CREDENTIALS.sub(MASK, argument)
    argument = _QUERY_ARGUMENT.sub(_mask_query_argument, argument)
    return _SERVICE_KEY.sub(MASK, argument)


def _mask_query_argument(match: re.Match[str]) -> str:
    is_secret = may_be_secret_argument(match[2]) or _SIGNATURE.search(match[2])
    return f"{match[1]}{MASK}" if is_secret else match[0]


def _find_short_values(names: Collection[str]) -> set[str]:
    """Return the values of secret variables that are too short to be replaced inside other words."""
    values = {value for name, value in os.environ.items() if name in names or is_secret_variable(name)}
    return {value for value in values if len(value) < MIN_SECRET_CHARS and not ORDINARY_VALUE.fullmatch(value)}
