"""Check the value of `base_url`: the address of a server, or a list of addresses of servers with the same model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import httpx
from pydantic import BeforeValidator

from codetool.errors import ConfigError
from codetool.http.reachability import parse_url

EXAMPLE = "http://HOST:PORT/v1, or a list of such addresses, [http://HOST1:PORT/v1,http://HOST2:PORT/v1]"


def check_addresses(value: object) -> str | tuple[str, ...] | None:
    """Return an address, the addresses of a list, or None. Raises ValueError, for validators, for anything else."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"should be {EXAMPLE}")
    if not value:
        raise ValueError(f"the list is empty; it should be {EXAMPLE}")
    known: dict[httpx.URL, str] = {}
    for address in value:
        try:
            parsed = parse_url(address)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        normalized = parsed.copy_with(path=parsed.path.rstrip("/") or "/")
        if normalized in known:
            raise ValueError(f"{known[normalized]} and {address} are one server; name each once")
        known[normalized] = address
    return tuple(value)


Addresses = Annotated[str | tuple[str, ...], BeforeValidator(check_addresses)]
"""Annotation of a setting: the address of a server, or several addresses of servers with the same model."""


def list_addresses(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the addresses of a checked setting, in order; empty for None."""
    return () if value is None else (value,) if isinstance(value, str) else value
