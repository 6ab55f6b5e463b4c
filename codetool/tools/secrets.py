"""Secrets of tool services: which arguments are secret, and the keys that are added to live requests.

A key is read from the environment once, held in a `Keyring` that never prints it, and removed from every text that
passes the broker. Session ids in the body of a service's answer are not removed: they belong to the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from codetool.credentials.api_keys import read_key
from codetool.credentials.masking import list_spellings
from codetool.credentials.secret_names import SECRET_ARGUMENTS, normalize_name
from codetool.errors import MissingError
from codetool.tools.allow_list import AllowList, is_host
from codetool.types import JSON

REPLACEMENT = "[secret]"

HOW_TO_ADD = (
    "A key for another host is added by +tools.secrets.NAME.host=HOST +tools.secrets.NAME.env=VARIABLE, and "
    "+tools.secrets.NAME.header=HEADER or +tools.secrets.NAME.query=ARGUMENT where it is no bearer token"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIKE_A_KEY = re.compile(r"(?=.*[a-z])(?=.*\d)\w{20,}|(sk|gsk|hf|ghp|xai)_\w{12,}")
"""Texts that look like a key: long with lower-case letters and digits, or with a well-known prefix."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)

_MIN_KEY_LENGTH = 8  # shorter keys are not removed from texts: they would match parts of ordinary words


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Secret:
    """The environment variable of a service's key, and the header or query argument that carries it."""

    env: str
    """Name of the environment variable that holds the key."""
    host: str | None = None
    """`host` or `host:port` of the service; null: the secret's name in `tools.secrets` is the host."""
    header: str | None = None
    """Header that carries the key; null: none. Authorization if neither header nor query is given."""
    query: str | None = None
    """Query argument that carries the key; null: none. Programs' own arguments of this name are dropped at the host."""
    format: str = "{key}"
    """Text of the header or argument, in which `{key}` is replaced; `Bearer {key}` by default in Authorization."""

    @model_validator(mode="before")
    @classmethod
    def _default_to_bearer(cls, given: Any) -> Any:
        """Fill in the default header and format."""
        fields = given.kwargs if isinstance(given, ArgsKwargs) else given
        if not isinstance(fields, Mapping):
            return given
        fields = dict(fields)
        if "header" not in fields and not fields.get("query"):
            fields["header"] = "Authorization"
        if str(fields.get("header")).lower() == "authorization" and "format" not in fields:
            fields["format"] = "Bearer {key}"
        return ArgsKwargs((), fields) if isinstance(given, ArgsKwargs) else fields

    def __post_init__(self) -> None:
        if not is_variable_name(self.env):
            raise ValueError("env is the name of an environment variable that holds the key, not the key itself")
        if not (self.header or self.query):
            raise ValueError(f"the secret {self.env} is carried nowhere: give `header` or `query`")
        if self.header and not _HEADER.fullmatch(self.header):
            raise ValueError(f"the header of the secret {self.env} is no name of a header, such as X-Api-Key")
        if "{key}" not in self.format:
            raise ValueError(f"the format of the secret {self.env} lacks `{{key}}`, the place of the key")
        if self.host is not None and not is_host(self.host):
            raise ValueError(f"the host of the secret {self.env} must be `host` or `host:port`, not {self.host!r}")


def is_variable_name(text: str) -> bool:
    """Whether a text can be the name of an environment variable and does not look like a pasted key."""
    return _VARIABLE.fullmatch(text) is not None and not _LIKE_A_KEY.fullmatch(text)


def is_pasted_key(text: str) -> bool:
    """Whether a text looks like a key rather than like a name or a setting."""
    return _LIKE_A_KEY.fullmatch(text) is not None


def flatten_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    """The secrets of `tools.secrets` by name, with nested mappings joined to one dotted name.

    `+tools.secrets.api.example.com.env=KEY` on the command line creates a mapping for each part of the host. Raises
    ValueError if a value is not a mapping.
    """
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Secret):
            flat[name] = value
        elif not isinstance(value, Mapping):
            raise ValueError(f"the secret {name!r} is no mapping. {HOW_TO_ADD}")
        elif all(isinstance(item, Mapping) for item in value.values()) and value:
            flat |= flatten_secrets({f"{name}.{part}": item for part, item in value.items()})
        else:
            flat[name] = value
    return flat


class Keyring:
    """The secrets of the configured hosts (`host` or `host:port`) and their keys from `environment`.

    The name of a secret without `host` is its host; a host may have several secrets. Raises ConfigError if a key has
    characters that a header cannot carry.
    """

    def __init__(self, secrets: Mapping[str, Secret], environment: Mapping[str, str]) -> None:
        self._secrets: dict[str, list[Secret]] = {}
        for name, secret in secrets.items():
            self._secrets.setdefault((secret.host or name).lower().removesuffix(":443"), []).append(secret)
        self._keys = {
            secret.env: read_key(secret.env, environment, allow_spaces=True) or "" for secret in secrets.values()
        }
        forms = {form for key in self._keys.values() if len(key) >= _MIN_KEY_LENGTH for form in list_spellings(key)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._key_pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __repr__(self) -> str:
        return f"Keyring({', '.join(sorted(self._secrets))})"

    def require(self, allowed: AllowList) -> None:
        """Raise MissingError, naming every missing variable, if an allowed host's key is not in the environment."""
        hosts = sorted(host for host in self._secrets if host in allowed)
        variables = [(host, secret.env) for host in hosts for secret in self._secrets[host]]
        missing = list(dict.fromkeys(f"{env} (for {host})" for host, env in variables if not self._keys[env]))
        if missing:
            raise MissingError(
                f"tools.mode=live needs the environment variable {', '.join(missing)}: "
                "set it, or use tools.mode=offline, which needs no key"
            )

    def argument_names(self, host: str | None) -> frozenset[str]:
        """Normalized names of arguments that are secrets at this host, in addition to `SECRET_ARGUMENTS`."""
        return frozenset(normalize_name(secret.query) for secret in self._secrets.get(host or "", ()) if secret.query)

    def header_names(self, host: str | None) -> frozenset[str]:
        """Normalized names of headers that carry a key of this host."""
        return frozenset(normalize_name(secret.header) for secret in self._secrets.get(host or "", ()) if secret.header)

    def has_no_secret(self, host: str | None) -> bool:
        """Whether no key is configured for this host; arguments that its documents declare are then not secrets."""
        return (host or "") not in self._secrets

    def credentials_for(self, host: str | None) -> tuple[dict[str, str], dict[str, str]] | None:
        """Headers and query arguments that carry the host's key, None if it has none."""
        headers: dict[str, str] = {}
        query: dict[str, str] = {}
        for secret in self._secrets.get(host or "", ()):
            if key := self._keys[secret.env]:
                value = secret.format.replace("{key}", key)
                headers |= {secret.header: value} if secret.header else {}
                query |= {secret.query: value} if secret.query else {}
        return (headers, query) if headers or query else None

    def scrub_arguments(self, arguments: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The arguments with every key in them replaced."""
        text = json.dumps(arguments) if self._key_pattern else ""
        return json.loads(self.scrub(text)) if self._key_pattern and self._key_pattern.search(text) else arguments

    def scrub(self, text: str) -> str:
        """The text with every key, in plain, percent-encoded, JSON or Base64 spelling, replaced by `[secret]`."""
        return self._key_pattern.sub(REPLACEMENT, text) if self._key_pattern else text


def is_secret(name: str, names: frozenset[str] = frozenset(), exempt: frozenset[str] = frozenset()) -> bool:
    """Whether an argument of this name is a secret, regardless of case and punctuation.

    `names` adds to `SECRET_ARGUMENTS` and `exempt` removes from it; both hold normalized names.
    """
    normalized = normalize_name(name)
    return normalized in names or (normalized in SECRET_ARGUMENTS and normalized not in exempt)


def drop_secrets(value: JSON, names: frozenset[str] = frozenset(), exempt: frozenset[str] = frozenset()) -> JSON:
    """A copy of the value without the secrets in its dictionaries, at any depth."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not is_secret(key, names, exempt)}
        return {key: drop_secrets(item, names, exempt) for key, item in kept.items()}
    if isinstance(value, list):
        return [drop_secrets(item, names, exempt) for item in value]
    return value
