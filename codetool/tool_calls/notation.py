"""Tool calls as one line of text, the notation of `Task.gold_calls`: `GET /movie/155?append_to_response=credits`."""

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
class WrittenCall:
    """A call that was read back from its line.

    `path` is the path below the server in the form of `decoded_path`. `arguments` maps each name to all its values in
    the order of the line, as text; arguments in the path are not among them.
    """

    method: str
    path: str
    arguments: Mapping[str, tuple[str, ...]]


def written(call: ToolCall, server: str = "") -> str:
    """The call below its server, with sorted and URL-encoded arguments.

    `server` stands for a call that was not matched to a tool, which knows its own. What the path holds is not repeated;
    None is left out, truth values are `true` and `false`, lists repeat their name, objects are JSON.
    """
    base = call.tool.server if call.tool else server
    in_path = {name for name in call.arguments if call.tool and f"{{{name}}}" in call.tool.path}
    given = sorted((name, _texts(value)) for name, value in call.arguments.items() if name not in in_path)
    query = urlencode([(name, text) for name, texts in given for text in texts])
    below = call.url.removeprefix(base)
    path = below if below[:1] in ("", "/") else call.url  # the server `/3` is no part of the path `/30`
    return f"{call.method} {path}{'?' if query else ''}{query}"


def read(text: str) -> WrittenCall:
    """The call that a line of this notation states.

    The method's case, a fragment, a trailing slash, and the brackets of `ids[]=1` do not matter.
    """
    method, _, address = text.strip().partition(" ")
    path, _, query = address.strip().partition("#")[0].partition("?")
    arguments: dict[str, tuple[str, ...]] = {}
    for spelled, value in parse_qsl(query, keep_blank_values=True):
        name = spelled.removesuffix("[]") or spelled
        arguments[name] = (*arguments.get(name, ()), value)
    return WrittenCall(method.upper(), decoded_path(path).rstrip("/"), arguments)


def decoded_path(path: str) -> str:
    """The path with percent-encoding undone in each segment; a slash or a percent sign inside one stays encoded.

    Of an absolute URL the scheme and the host become lower case, and the scheme's default port is left out.
    """
    absolute = _ABSOLUTE.fullmatch(path)
    if absolute:
        scheme, host = absolute[1].lower(), absolute[2].lower()
        return f"{scheme}://{host.removesuffix(_DEFAULT_PORT[scheme])}{decoded_path(absolute[3])}"
    segments = (unquote(segment).replace("%", "%25").replace("/", "%2F") for segment in path.split("/"))
    return "/".join(segments)


def _texts(value: JSON) -> list[str]:
    """The texts of an argument's values: none for None, one for a scalar or an object, one for each entry of a list."""
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list | tuple):
        return [text for entry in value for text in _texts(entry)]
    return [json.dumps(value, sort_keys=True, ensure_ascii=False) if isinstance(value, Mapping) else str(value)]
