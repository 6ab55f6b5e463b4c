"""Read API keys from environment variables, and refuse settings that hold a key instead of a variable's name.

No message repeats a key: messages name the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from codetool.credentials.secret_names import SERVICE_KEY_PREFIX, may_be_secret_argument
from codetool.errors import ConfigError

_SERVICE_KEY = re.compile(rf"{SERVICE_KEY_PREFIX}[\w-]*\d")
_MIN_KEY_CHARS = 16


def read_key(
    variable: str | None, environment: Mapping[str, str] = os.environ, *, allow_spaces: bool = False
) -> str | None:
    """Read the key in an environment variable without surrounding blanks; None if there is none.

    `allow_spaces` permits spaces inside, for values that hold a scheme before the key. Raises ConfigError, which does
    not repeat the value, where it holds other characters than an HTTP header may carry.
    """
    key = environment.get(variable, "").strip() if variable else ""
    if not (key.isascii() and (key.isprintable() or not key)):
        raise ConfigError(f"the key in {variable} holds characters that are not printable ASCII: set {variable} anew")
    if " " in key and not allow_spaces:
        raise ConfigError(f"the key in {variable} holds blanks between its characters: set {variable} anew")
    return key or None


def reject_key_as_name(option: str, variable: str | None) -> None:
    """Raise ValueError, for validators, if an option that names a variable holds what is likely a key.

    The message does not repeat the value.
    """
    if variable and variable not in os.environ and (not _is_variable_name(variable) or _looks_like_key(variable)):
        raise ValueError(
            f"{option} must be the name of an environment variable that holds the key, such as OPENAI_API_KEY, and not "
            "the key itself, for settings are written to config.yaml, reports and W&B."
        )


def reject_secrets_in_query(option: str, url: str, *, instead: str) -> None:
    """Raise ValueError, for validators, if an argument or path segment of a URL is likely a key.

    The message does not repeat the URL; `instead` is the advice at its end.
    """
    try:
        parts = urlsplit(url)
        parameters = parts.path.replace("/", ";").split(";")  # `/v1;api_key=…`
        arguments = parse_qsl("&".join([parts.query, parts.fragment, *parameters]), keep_blank_values=True)
    except ValueError:
        return  # not a URL: the code that opens it reports that
    named = next((name for name, value in arguments if may_be_secret_argument(name) or _looks_like_key(value)), None)
    if named is not None or any(_SERVICE_KEY.match(part) and len(part) >= _MIN_KEY_CHARS for part in parameters):
        where = f"in its query (`{named}=`)" if named is not None and not _looks_like_key(named) else "in it"
        raise ValueError(
            f"{option} must not hold a key {where}, for addresses are written to config.yaml, reports and W&B: "
            f"{instead}."
        )


def _is_variable_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) is not None


def _looks_like_key(text: str) -> bool:
    """Whether a text that could be a variable's name is more likely a key: 16 or more characters with digits."""
    if len(text) < _MIN_KEY_CHARS:
        return False
    if text.isupper() and "_" in text:
        return False
    return _SERVICE_KEY.match(text) is not None or (re.search(r"[a-z]", text) and re.search(r"\d", text)) is not None
