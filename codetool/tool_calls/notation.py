"""Format and parse tool calls as one line of text, as in `Task.gold_calls`: `GET /movie/155?language=en`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from codetool.types import JSON, ToolCall

_ABSOLUTE = re.compile(r"(https?)://([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """A call parsed from its line.

    `path` is the path below the server as `decode_path` returns it. `arguments` maps each name of the query string to
    all its values as text, in the order of the line. Arguments in the path are not included.
    """

    method: str
    path: str
    arguments: Mapping[str, tuple[str, ...]]


def format_call(call: ToolCall, server: str = "") -> str:
    """Return the call's line: method, path below the server, and arguments sorted and URL-encoded.

    `server` is needed for a call that was not matched to a tool. Arguments in the path are not repeated, None is left
    out, booleans are `true` and `false`, lists repeat their name, and objects are JSON.
    """
    base = call.tool.server if call.tool else server
    in_path = {name for name in call.arguments if call.tool and f"{{{name}}}" in call.tool.path}
    arguments_as_text = sorted(
        (name, _format_values(value)) for name, value in call.arguments.items() if name not in in_path
    )
    query = urlencode([(name, text) for name, texts in arguments_as_text for text in texts])
    path_below_server = call.url.removeprefix(base)
    path = (
        path_below_server if path_below_server[:1] in ("", "/") else call.url
    )  # the server `/3` is no part of the path `/30`
    return f"{call.method} {path}{'?' if query else ''}{query}"


def parse_call(text: str) -> ParsedCall:
    """Parse a line. The case of the method, fragments, trailing slashes and the brackets of `ids[]=1` are ignored."""
    method, _, address = text.strip().partition(" ")
    path, _, query = address.strip().partition("#")[0].partition("?")
    arguments: dict[str, tuple[str, ...]] = {}
    for raw_name, value in parse_qsl(query, keep_blank_values=True):
        name = raw_name.removesuffix("[]") or raw_name
        arguments[name] = (*arguments.get(name, ()), value)
    return ParsedCall(method.upper(), decode_path(path).rstrip("/"), arguments)


def decode_path(path: str) -> str:
    """Undo percent-encoding in each segment of a path; slashes and percent signs inside a segment stay encoded.

    In an absolute URL the scheme and the host become lower case, and the default port is removed.
    """
    absolute = _ABSOLUTE.fullmatch(path)
    if absolute:
        scheme, host = absolute[1].lower(), absolute[2].lower()
        return f"{scheme}://{host.removesuffix(_DEFAULT_PORT[scheme])}{decode_path(absolute[3])}"
    segments = (unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in path.split("/"))
    return "/".join(segments)


def _format_values(value: JSON) -> list[str]:
    """Return an argument's values as texts: none for None, one for a scalar or an object, one per entry of a list."""
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list | tuple):
        return [text for entry in value for text in _format_values(entry)]
    return [json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, Mapping) else str(value)]
