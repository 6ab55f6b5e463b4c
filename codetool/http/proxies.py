"""Choose the proxy for a URL from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

httpx reads these variables too, but fails on entries that other programs accept, such as `[::1]` in NO_PROXY. Requests
to this machine never use a proxy.
"""

from __future__ import annotations

import ipaddress
from urllib.request import getproxies

import httpx

from codetool.errors import ConfigError


def find_proxy(url: httpx.URL) -> httpx.Proxy | None:
    """Return the proxy for a URL, None for a direct connection. Raises ConfigError, naming the variable, if invalid."""
    proxies = getproxies()
    name = url.scheme if url.scheme in proxies else "all"
    value = proxies.get(name)
    if not value or bypasses_proxy(url.host, url.port, proxies.get("no", "")):
        return None
    try:
        return httpx.Proxy(value if "://" in value else f"http://{value}")
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(
            f"the environment variable {name.upper()}_PROXY holds no proxy's address, such as http://HOST:PORT: "
            f"correct it, or add {url.host} to NO_PROXY"
        ) from error


def bypasses_proxy(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether a host is this machine or matches an entry of NO_PROXY: a name, `.suffix`, address, network or `*`."""
    host = host.lower().strip("[]")
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return True
    return any(_matches_entry(host, port, entry.strip().lower()) for entry in no_proxy.split(","))


def _matches_entry(host: str, port: int | None, entry: str) -> bool:
    if entry in {"", "*"}:
        return entry == "*"
    entry = entry.split("://")[-1]
    if "/" in entry:
        return _is_in_network(host, entry)
    name, entry_port = _split_port(entry)
    if entry_port is not None and port is not None and entry_port != port:
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split `host:1`, `[::1]:1` or `::1` into host and port."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    return name, int(port) if port.isdigit() else None


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(
            network.replace("[", "").replace("]", ""), strict=False
        )
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
