"""Find keys in settings, which are written to `config.yaml`, reports and W&B. No message repeats a key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codetool.credentials.masking import list_spellings
from codetool.credentials.secret_names import (
    SECRET_ARGUMENTS,
    SERVICE_KEY_PREFIX,
    is_secret_variable,
    normalize_name,
)

KEY_VARIABLE_SETTINGS = ("key_env", "env")
"""Names of settings whose value is the name of an environment variable that holds a key."""
FREE_SETTINGS = ("extra_body",)
"""Settings with fields of any name, which are sent to a server."""
MIN_SECRET_CHARS = 8
_SECRET_FIELDS = SECRET_ARGUMENTS | {"key", "token"}
_PASTED_KEY = re.compile(rf"(?i:bearer|basic) \S{{8,}}|\b{SERVICE_KEY_PREFIX}(?=[\w-]*\d)[\w-]{{16,}}")
_PATH_BEGINS = ("/", "~", "./", "../")
_ADVICE = "settings are written to config.yaml, reports and W&B: name the key's environment variable, key_env=NAME"


def find_key_variables(settings: Any) -> set[str]:
    """Return the environment variables that settings name as holding a key."""
    if isinstance(settings, Mapping):
        named = {value for name, value in settings.items() if name in KEY_VARIABLE_SETTINGS and isinstance(value, str)}
        return named.union(*map(find_key_variables, settings.values()))
    if isinstance(settings, list | tuple):
        return set().union(*map(find_key_variables, settings))
    return set()


def find_secrets_in_settings(settings: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield a line for every setting that holds the value of a secret variable, or a key among free fields.

    Values of fewer than eight characters, which may be part of ordinary words, and paths are not taken for secrets.
    """
    named = find_key_variables(settings)
    spellings = {
        spelling: variable
        for variable, value in environment.items()
        if (variable in named or is_secret_variable(variable)) and _may_be_secret(value)
        for spelling in list_spellings(value.strip())
    }
    for setting, value in _iterate_texts(settings):
        variable = next((spellings[spelling] for spelling in spellings if spelling in value), None)
        if variable is not None:
            yield f"{setting} holds the value of the environment variable {variable}, and {_ADVICE}."
        elif _is_secret_field(setting, value):
            yield f"{setting} is likely to be a key, and {_ADVICE}."


def _may_be_secret(value: str) -> bool:
    value = value.strip()
    if len(value) < MIN_SECRET_CHARS or value.isdigit() or value.startswith(_PATH_BEGINS) or "\0" in value:
        return False
    try:
        return not Path(value).exists()
    except OSError:  # too long for a path
        return True


def _is_secret_field(setting: str, value: str) -> bool:
    """Whether a text among free fields is a key, by its name or by its looks."""
    parts = re.split(r"[.\[\]]+", setting)
    below = next((parts[place + 1 :] for place, part in enumerate(parts) if part in FREE_SETTINGS), None)
    if not below or not value.strip():
        return False
    names = {normalize_name(part) for part in below}
    return bool(names & _SECRET_FIELDS) or _PASTED_KEY.search(value) is not None


def _iterate_texts(value: Any, setting: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text below a setting, names of fields included, with the dotted name of its setting."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            below = f"{setting}.{name}" if setting else str(name)
            if isinstance(name, str) and len(name) >= MIN_SECRET_CHARS and setting:
                yield setting, name
            yield from _iterate_texts(item, below)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _iterate_texts(item, f"{setting}[{number}]")
    elif isinstance(value, str) and value:
        yield setting, value
