"""API keys: how one is read from the environment, and how one is kept out of the settings.

A key never stands in a message: what is named is the variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from codetool.errors import ConfigError

_KEY_PREFIX = re.compile(r"(?:(?:sk|gsk|hf|ghp|xai|nvapi|pplx|tgp_v1|fw|csk|r8)[-_]|AIza|AKIA|eyJ)[\w-]*\d")
"""How keys of well-known services begin."""
_SECRET_ARGUMENT = re.compile(
    r"(^|[^a-z])(code|jwt|pwd|sas|sig)$|key|token|secret|passw|signature|auth|bearer|credential|cookie|session",
    re.IGNORECASE,
)
"""Names of query arguments that are secrets."""
_MIN_KEY_CHARS = 16


def read_key(variable: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The key in an environment variable without surrounding blanks, None where there is none.

    Raises ConfigError where it holds what no HTTP header may carry, without repeating it.
    """
    key = environment.get(variable, "").strip() if variable else ""
    if not (key.isascii() and (key.isprintable() or not key)):
        raise ConfigError(f"the key in {variable} holds characters that are not printable ASCII: set {variable} anew")
    if " " in key:
        raise ConfigError(f"the key in {variable} holds blanks between its characters: set {variable} anew")
    return key or None


def reject_key_as_name(option: str, variable: str | None) -> None:
    """Return if the value can be a variable's name. Raises ValueError, for validators, without repeating the value."""
    if variable and variable not in os.environ and (not _is_variable_name(variable) or _looks_like_key(variable)):
        raise ValueError(
            f"{option} must be the name of an environment variable that holds the key, such as OPENAI_API_KEY, and not "
            "the key itself, for settings are written to config.yaml, reports and W&B."
        )


def reject_secrets_in_query(option: str, url: str, *, instead: str) -> None:
    """Return if no part of the address is named or spelled like a key. Raises ValueError without repeating the address.

    `instead` says what to do instead.
    """
    try:
        parts = urlsplit(url)
        arguments = parse_qsl(f"{parts.query}&{parts.fragment}", keep_blank_values=True)
    except ValueError:
        return  # no address: who opens it says so
    named = next((name for name, value in arguments if _SECRET_ARGUMENT.search(name) or _looks_like_key(value)), None)
    if named is not None or any(
        _KEY_PREFIX.match(part) and len(part) >= _MIN_KEY_CHARS for part in parts.path.split("/")
    ):
        where = f"in its query (`{named}=`)" if named is not None and not _looks_like_key(named) else "in it"
        raise ValueError(
            f"{option} must not hold a key {where}, for addresses are written to config.yaml, reports and W&B: "
            f"{instead}."
        )


def _is_variable_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) is not None


def _looks_like_key(text: str) -> bool:
    """Whether a text that could be a variable's name is more likely a key: long, digits among small letters."""
    if len(text) < _MIN_KEY_CHARS:
        return False
    if text.isupper() and "_" in text:
        return False
    return _KEY_PREFIX.match(text) is not None or (re.search(r"[a-z]", text) and re.search(r"\d", text)) is not None
