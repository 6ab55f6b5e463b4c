"""Keep a run folder of somebody else from having a key of this machine sent to a host of its choice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codetool.errors import ConfigError
from codetool.http.proxies import bypasses_proxy

ADDRESS_SETTINGS = ("base_url", "url", "host")


def refuse_foreign_keys(settings: Mapping[str, Any], own: Mapping[str, Any], folder: Path) -> None:
    """Raise ConfigError if copied settings would send a key to a host other than this machine.

    `own` are the settings of the command line: what they send, the copied settings may send too.
    """
    allowed = set(_iterate_sent_keys(own))
    for variable, address in _iterate_sent_keys(settings):
        if not os.environ.get(variable) or (variable, address) in allowed or _is_this_machine(address):
            continue
        raise ConfigError(
            f"policy.source: {folder / 'config.yaml'} would have the key in {variable} sent to {address}. If that is "
            "right, name the setting on the command line; else unset the variable."
        )


def _is_this_machine(address: str) -> bool:
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return False
    return bypasses_proxy(host, None, "")


def _iterate_sent_keys(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the variable and the address of every key that settings have sent to a server.

    `name` is the name of the block, which is the host of a secret without `host`.
    """
    if isinstance(settings, list):
        for item in settings:
            yield from _iterate_sent_keys(item)
    if not isinstance(settings, Mapping):
        return
    variable = settings.get("key_env") or settings.get("env")
    named = next((settings[key] for key in ADDRESS_SETTINGS if settings.get(key)), name)
    for address in named if isinstance(named, list | tuple) else [named]:
        if isinstance(variable, str) and isinstance(address, str) and address:
            yield variable, address
    for key, value in settings.items():
        yield from _iterate_sent_keys(value, str(key))
