"""Names, URLs and documents of ToolBench's APIs, converted to `Tool`s.

An API has a category, a tool and a name, in the spelling of StableToolBench's server, cache and tool folders: `Data`,
`theclique`, `songkick_artist`. Each API becomes a REST endpoint, `GET {SERVER}/Data/theclique/songkick_artist`, so that
prompts, routing, path metrics and recordings treat it like any other tool.

Source: StableToolBench, server/utils.py and the layout of its published cache (commit aa4ed9f).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from codetool.prompts.python_syntax import parse_python_literal
from codetool.types import JSON, Parameter, Tool

SERVER = "http://localhost:8080/virtual"
"""Default URL of StableToolBench's server; `stage=serve_tools` answers at the same path."""

_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})
"""Names that ToolBench does not use as identifiers; they get the prefix `is_`."""
_INVALID_CHARS = re.compile(r"[^\u4e00-\u9fa5a-zA-Z0-9_^]")
_TYPES = {"string": "string", "number": "number", "boolean": "boolean", "enum": "string", "array": "array"}
_TOKENS = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|[{}\[\],"']""", re.DOTALL)
"""Complete strings, brackets and commas; a single quote character begins a string that does not end."""
_MAX_DEPTH = 100  # maximum nesting depth of a truncated text that is repaired
_LIST_NOTE = re.compile(r"list of (\w+) with length \d+")
_SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "NoneType": "null"}


@dataclass(frozen=True, slots=True)
class Api:
    """One API in the server's spelling."""

    category: str
    tool: str
    name: str

    @classmethod
    def from_tool(cls, category: str, tool: str, name: str) -> Api:
        """Return the API with these names in any spelling; `tool` may end in `_for_<category>`."""
        category = standard_category(category)
        tool = tool.removesuffix(f"_for_{category}")
        standard = standard_name(tool)
        return cls(category, standard, argument_name(name).removesuffix(f"_for_{standard}"))

    @classmethod
    def from_url(cls, url: str) -> Api | None:
        """Return the API with this URL, None for any other URL."""
        address, server = urlsplit(url), urlsplit(SERVER)
        parts = [unquote(part) for part in address.path.removeprefix(server.path).strip("/").split("/")]
        if address.netloc.lower() != server.netloc or not address.path.startswith(f"{server.path}/") or len(parts) != 3:
            return None
        return cls(*parts)

    @property
    def path(self) -> str:
        """Its path below `SERVER`."""
        return f"/{self.category}/{self.tool}/{self.name}"

    @property
    def function(self) -> str:
        """Its name in ToolBench's function-calling clients: `songkick_artist_for_theclique`.

        Those clients keep only the last 64 characters, which makes ten APIs of one query coincide; this name is
        complete.
        """
        return f"{self.name}_for_{self.tool}"


def standard_category(category: str) -> str:
    """Return the folder name of a category: `Video, Images` → `Video_Images`."""
    return re.sub(r"[ ,/]", "_", category).replace("__", "_")


def standard_name(name: str) -> str:
    """Return the server's spelling of a tool or API: lower case, single underscores between words, no leading digit."""
    spelled = re.sub("_{2,}", "_", _INVALID_CHARS.sub("_", name)).lower().strip("_")
    return f"get_{spelled}" if spelled[:1].isdigit() else spelled


def argument_name(name: str) -> str:
    """Return the server's spelling of an API or an argument, with `is_` before reserved words."""
    spelled = standard_name(name)
    return f"is_{spelled}" if spelled in _RESERVED else spelled


def parse_tool(document: Mapping[str, Any]) -> Tool:
    """Convert an entry of a query's `api_list` to a tool. Raises KeyError or TypeError for any other document."""
    api = Api.from_tool(document["category_name"], document["tool_name"], document["api_name"])
    parameters = [
        *_parse_parameters(document["required_parameters"], required=True),
        *_parse_parameters(document["optional_parameters"], required=False),
    ]
    return Tool(
        name=api.function,
        method=str(document.get("method") or "GET").upper(),
        server=SERVER,
        path=api.path,
        summary=str(document.get("api_description") or ""),
        parameters=tuple({parameter.name: parameter for parameter in reversed(parameters)}.values())[::-1],
        response=_summarize(_parse_template(document.get("template_response"))),
    )


def _parse_parameters(documents: Iterable[Mapping[str, Any]], *, required: bool) -> Iterable[Parameter]:
    for entry in documents:
        name = argument_name(str(entry["name"]))
        if name:
            kind = str(entry.get("type") or "string").lower()
            yield Parameter(
                name=name,
                location="query",
                type=_TYPES.get(kind, kind),
                required=required,
                description=str(entry.get("description") or ""),
                default=None if entry.get("default") in ("", None) else entry["default"],
            )


def _parse_template(response: JSON) -> JSON:
    """Return the template of a response, parsed if the document contains it as text."""
    return parse_data(response) if isinstance(response, str) else response


def _summarize(template: JSON) -> JSON:
    """Convert a response template to nested names and types, with each list as its first entry."""
    if isinstance(template, Mapping):
        return {str(name): _summarize(value) for name, value in template.items() if name != "_list_length"} or None
    if isinstance(template, list):
        return [_summarize(value) for value in template[:1]]
    if isinstance(template, str):
        if match := _LIST_NOTE.fullmatch(template):
            return [_SCALARS.get(match[1], match[1])]
        return [] if template == "empty list" else _SCALARS.get(template, template)
    return template


def parse_data(text: str, *, repair: bool = True) -> JSON:
    """Parse JSON or a Python literal, even if its end was cut off; return any other text unchanged.

    Of a truncated text the incomplete entry is dropped. Without `repair` a truncated text is returned unchanged.
    """
    stripped = text.strip()
    if stripped[:1] not in ("{", "[") and stripped not in ("null", "None", "true", "false", "True", "False"):
        return text
    parsed = _parse_complete(stripped)
    if parsed is not None or not repair:
        return text if parsed is None else parsed.value
    repaired = _close_brackets(stripped)
    repaired_data = _parse_complete(repaired) if repaired is not None else None
    return repaired_data.value if repaired_data is not None and repaired_data.value else text


@dataclass(frozen=True, slots=True)
class _ParsedData:
    """Data parsed from a text, which may be None."""

    value: JSON


def _parse_complete(text: str) -> _ParsedData | None:
    """Parse a complete text; None if it is neither JSON nor a Python literal."""
    for read in (json.loads, parse_python_literal):
        try:
            data = read(text)
            if read is parse_python_literal:
                json.dumps(data)  # refuse literals that JSON cannot express: sets, complex numbers, tuples as keys
        except (ValueError, TypeError, RecursionError):
            continue
        return _ParsedData(data)
    return None


def _close_brackets(text: str) -> str | None:
    """End a truncated text after its last complete entry and close its brackets.

    Returns None for a text that was not truncated: it continues after its last closing bracket, or has no bracket.
    """
    closing: list[str] = []
    kept_length, closing_brackets = 0, ""
    for match in _TOKENS.finditer(text):
        token, end = match[0], match.end()
        if token in ('"', "'"):  # a string that does not end
            break
        if token in "{[":
            closing.append("}" if token == "{" else "]")
        elif token in "}]":
            if not closing or closing.pop() != token:
                return None
            if not closing:
                return None
        elif token != ",":
            continue
        if len(closing) > _MAX_DEPTH:
            return None
        kept_length, closing_brackets = end - (token == ","), "".join(reversed(closing))
    return text[:kept_length] + closing_brackets if closing else None
