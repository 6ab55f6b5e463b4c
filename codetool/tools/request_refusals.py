"""Refuse requests that must not be sent to live services: path traversal and undocumented methods."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from codetool.tools.allow_list import extract_host
from codetool.tools.url_router import get_router
from codetool.types import HttpRequest, Tool

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""Methods that are sent. TRACE and CONNECT address the connection and could expose the key."""
READS = ("GET", "HEAD", "OPTIONS")
"""Methods that are sent to undocumented paths of a documented service too; others may change its data."""

_MAX_DECODINGS = 5


def find_refusal(request: HttpRequest, tools: tuple[Tool, ...]) -> str | None:
    """The reason for which this request must not be sent, as a message for the policy; None if it may be sent."""
    method = request.method.upper()
    if method not in METHODS:
        return f"the method {method[:20]!r} is not sent to services; use one of {', '.join(METHODS)}"
    if (objection := _find_path_problem(urlsplit(request.url).path)) is not None:
        return f"a path with {objection} is not sent to services; write the path as its document does"
    if (bases := _list_base_paths(request.url, tools)) and not any(_lies_below(request.url, base) for base in bases):
        return f"the documents of {extract_host(request.url)} put every operation below {', '.join(bases)}"
    documented, path = list_documented_methods(request.url, tools), urlsplit(request.url).path[:200]
    if documented and method not in documented and not (method == "HEAD" and "GET" in documented):
        return f"the document of {path} knows {', '.join(documented)} and no {method}"
    if bases and not documented and method not in READS:
        return f"no document of {extract_host(request.url)} knows {path}, and such a path is read only: no {method}"
    return None


def list_documented_methods(url: str, tools: tuple[Tool, ...]) -> list[str]:
    """The methods that the tools' documents declare for the path of a URL; empty for an undocumented path."""
    host, index = extract_host(url), get_router(tools)
    segments = [unquote(part) for part in urlsplit(url).path.removeprefix("/").removesuffix("/").split("/")]
    methods = sorted({tool.method for tool in tools})
    return [method for method in methods if index.find(method, host, segments)]


def _list_base_paths(url: str, tools: tuple[Tool, ...]) -> list[str]:
    """The base paths of the documented services at a URL's host."""
    servers = {tool.server for tool in tools}
    return sorted(
        {urlsplit(server).path.rstrip("/") for server in servers if extract_host(server) == extract_host(url)}
    )


def _lies_below(url: str, base: str) -> bool:
    path = unquote(urlsplit(url).path)
    return path == base or path.startswith(f"{base}/") or not base


def _find_path_problem(path: str) -> str | None:
    """A description of what is wrong with a path at any level of percent-encoding, None if nothing is."""
    if "//" in path:
        return "an empty segment (`//`)"
    for _ in range(_MAX_DECODINGS):
        if (problem := _find_text_problem(path)) is not None:
            return problem
        decoded = unquote(path)
        if decoded == path:
            return None
        path = decoded
    return "characters that are encoded again and again"


def _find_text_problem(path: str) -> str | None:
    text = unicodedata.normalize("NFKC", path)
    if re.search(r"[\x00-\x1f\x7f]", text):
        return "control characters"
    if "\\" in text:
        return "a backslash"
    if _has_dot_segment(re.split(r"[/\\]", text)):
        return "`.` or `..` as a segment"
    return None


def _has_dot_segment(segments: Sequence[str]) -> bool:
    """Whether a segment is `.` or `..`, without the parameters after a semicolon, which some servers remove."""
    return any(segment.split(";")[0].strip() in (".", "..") for segment in segments)
