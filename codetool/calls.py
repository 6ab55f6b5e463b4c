"""Tool calls as one line of text, the notation of `Task.gold_calls`: `GET /movie/155?append_to_response=credits`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from codetool.types import JSON, ToolCall


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call read back: `path` below the server, decoded; `arguments` without those in the path, all as text."""

    method: str
    path: str
    arguments: Mapping[str, str]


def written(call: ToolCall, server: str = "") -> str:
    """The call below its server, with sorted and URL-encoded arguments.

    `server` stands for a call that was not matched to a tool, which knows its own. What the path holds is not repeated;
    None is left out, truth values are `true` and `false`, lists repeat their name.
    """
    base = call.tool.server if call.tool else server
    in_path = {name for name in call.arguments if call.tool and f"{{{name}}}" in call.tool.path}
    given = sorted((name, _text(value)) for name, value in call.arguments.items() if name not in in_path)
    query = urlencode([(name, value) for name, value in given if value is not None], doseq=True)
    return f"{call.method} {call.url.removeprefix(base)}{'?' if query else ''}{query}"


def read(text: str) -> WrittenCall:
    """The call that a line of this notation states."""
    method, _, address = text.partition(" ")
    path, _, query = address.partition("?")
    return WrittenCall(method, unquote(path).rstrip("/"), dict(parse_qsl(query, keep_blank_values=True)))


def _text(value: JSON) -> JSON:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return [_text(entry) for entry in value]
    return value
