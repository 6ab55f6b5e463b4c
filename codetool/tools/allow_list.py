"""Extract the host of a URL, and the list of hosts that tool calls may reach."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = r"([\w.-]+|\[[0-9a-f:.]+\])"
_PORT = re.compile(r":\d+$")


def extract_host(url: str) -> str | None:
    """The URL's `host` or `host:port` in lower case, without the scheme's default port.

    None if the URL is not a well-formed http or https URL.
    """
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not name:
        return None
    name = f"[{name}]" if ":" in name else name.rstrip(".")
    if not re.fullmatch(_NAME, name):
        return None
    return name if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{name}:{port}"


def is_host(text: str) -> bool:
    """Whether the whole text is a `host` or `host:port`."""
    return re.fullmatch(rf"{_NAME}(:\d{{1,5}})?", text.lower()) is not None


@dataclass(frozen=True, slots=True)
class AllowList:
    """The hosts that may be called. `host:port` allows that port only, a bare `host` allows every port."""

    hosts: frozenset[str]

    @classmethod
    def from_hosts(cls, hosts: Iterable[str]) -> AllowList:
        """The allow-list of these hosts, which are compared in lower case."""
        return cls(frozenset(host.lower() for host in hosts))

    def __contains__(self, host: str) -> bool:
        ports = () if _PORT.search(host) else (f"{host}:{port}" for port in DEFAULT_PORTS.values())
        return not self.hosts.isdisjoint((host, _PORT.sub("", host), *ports))

    def __str__(self) -> str:
        return ", ".join(sorted(self.hosts)) or "none"
