"""Secrets: which arguments are one, and the keys that live services get after the sandbox.

A key is read from the environment once, kept in a `Keyring` that never prints it, and cut out of every text that passes
the broker. Session ids that a service hands out in an answer's body are not recognised: they belong to the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from codetool.credentials.api_keys import read_key
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
"""Long, with small letters and digits, or with a well-known beginning: hardly the name of a variable."""
_HEADER = re.compile(r"[!#$%&'*+.^_`|~\w-]+", re.ASCII)

_MIN_KEY_LENGTH = 8  # characters; a shorter value would be cut out of ordinary words


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class Secret:
    """Where a service's key comes from and where its requests carry it."""

    env: str
    """Name of the environment variable that holds the key."""
    host: str | None = None
    """`host` or `host:port` of the service; null: the secret's name in `tools.secrets` is the host."""
    header: str | None = None
    """Header that carries it; null: none. Where neither header nor query is given, it is Authorization."""
    query: str | None = None
    """Query argument that carries it; null: none. Programs' own argument of this name is dropped at this host."""
    format: str = "{key}"
    """Text of the header or argument, with `{key}` where the key stands; not given: `Bearer {key}` in Authorization."""

    @model_validator(mode="before")
    @classmethod
    def _default_to_bearer(cls, given: Any) -> Any:
        """Fill in where the key is carried, as far as that is not said."""
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
    """Whether a text can be the name of an environment variable, and not a key that was pasted in its place."""
    return _VARIABLE.fullmatch(text) is not None and not _LIKE_A_KEY.fullmatch(text)


def is_pasted_key(text: str) -> bool:
    """Whether a text looks like a key rather than like a name or a setting."""
    return _LIKE_A_KEY.fullmatch(text) is not None


def flatten_secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    """The secrets of `tools.secrets` by name.

    `+tools.secrets.api.example.com.env=KEY` on a command line makes a mapping for each part of the host; here they are
    one name again. Raises ValueError where a value is no mapping.
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
    """The secrets of the configured hosts (`host` or `host:port`) with the keys that `environment` holds for them.

    A secret without a host of its own belongs to the host that is its name; a host may have several. Raises ConfigError
    where a key holds characters that no header may carry.
    """

    def __init__(self, secrets: Mapping[str, Secret], environment: Mapping[str, str]) -> None:
        self._secrets: dict[str, list[Secret]] = {}
        for name, secret in secrets.items():
            self._secrets.setdefault((secret.host or name).lower().removesuffix(":443"), []).append(secret)
        self._keys = {
            secret.env: read_key(secret.env, environment, allow_spaces=True) or "" for secret in secrets.values()
        }
        forms = {form for key in self._keys.values() if len(key) >= _MIN_KEY_LENGTH for form in _list_spellings(key)}
        self._known = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True)))) if forms else None

    def __repr__(self) -> str:
        return f"Keyring({', '.join(sorted(self._secrets))})"

    def require(self, allowed: AllowList) -> None:
        """Raise MissingError, naming every variable, if an allowed host's secret is not in the environment."""
        hosts = sorted(host for host in self._secrets if host in allowed)
        wanted = [(host, secret.env) for host in hosts for secret in self._secrets[host]]
        missing = list(dict.fromkeys(f"{env} (for {host})" for host, env in wanted if not self._keys[env]))
        if missing:
            raise MissingError(
                f"tools.mode=live needs the environment variable {', '.join(missing)}: "
                "set it, or use tools.mode=offline, which needs no key"
            )

    def argument_names(self, host: str | None) -> frozenset[str]:
        """Names of arguments that are secrets at this host besides `SECRET_ARGUMENTS`, spelled like them."""
        return frozenset(normalize_name(secret.query) for secret in self._secrets.get(host or "", ()) if secret.query)

    def header_names(self, host: str | None) -> frozenset[str]:
        """Names of headers that carry a key of this host, spelled like `SECRET_ARGUMENTS`."""
        return frozenset(normalize_name(secret.header) for secret in self._secrets.get(host or "", ()) if secret.header)

    def has_no_secret(self, host: str | None) -> bool:
        """Whether none of our keys is for this host: what its documents declare are arguments then, and no secrets."""
        return (host or "") not in self._secrets

    def credentials_for(self, host: str | None) -> tuple[dict[str, str], dict[str, str]] | None:
        """Headers and query arguments that carry the host's key, or None where it has none."""
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
        text = json.dumps(arguments) if self._known else ""
        return json.loads(self.scrub(text)) if self._known and self._known.search(text) else arguments

    def scrub(self, text: str) -> str:
        """The text with every key, in plain, percent-encoded or JSON spelling, replaced by `[secret]`."""
        return self._known.sub(REPLACEMENT, text) if self._known else text


def is_secret(name: str, names: frozenset[str] = frozenset(), exempt: frozenset[str] = frozenset()) -> bool:
    """Whether an argument of this name is a secret, whatever its case and punctuation.

    `names` adds to the list, `exempt` takes from it; both are spelled like it.
    """
    spelled = normalize_name(name)
    return spelled in names or (spelled in SECRET_ARGUMENTS and spelled not in exempt)


def drop_secrets(value: JSON, names: frozenset[str] = frozenset(), exempt: frozenset[str] = frozenset()) -> JSON:
    """A copy of the value without the secrets in its dictionaries, at any depth."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not is_secret(key, names, exempt)}
        return {key: drop_secrets(item, names, exempt) for key, item in kept.items()}
    if isinstance(value, list):
        return [drop_secrets(item, names, exempt) for item in value]
    return value


def _list_spellings(key: str) -> set[str]:
    return {key, quote(key, safe=""), quote(key), quote_plus(key), json.dumps(key)[1:-1], key.replace("/", r"\/")}
