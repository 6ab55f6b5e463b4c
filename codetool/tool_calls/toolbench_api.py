"""ToolBench's world of APIs: what they are called, where they are asked, and what their documents say.

An API has a category, a tool and a name, in the spelling that StableToolBench's server, cache and tool folders use:
`Data`, `theclique`, `songkick_artist`. Here each is a REST operation of its own, `GET {SERVER}/Data/theclique/
songkick_artist`, so that prompts, routing, path metrics and recordings need to know nothing else of ToolBench.

Source: StableToolBench, server/utils.py and the layout of its published cache (commit aa4ed9f).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from codetool.types import JSON, Parameter, Tool

SERVER = "http://localhost:8080/virtual"
"""Where StableToolBench's own server listens by default; ours answers there too."""

_RESERVED = frozenset({"from", "class", "return", "false", "true", "id", "and"})
"""Names that are no Python identifiers to ToolBench, or that it avoids; they get `is_` before them."""
_OTHER = re.compile(r"[^\u4e00-\u9fa5a-zA-Z0-9_^]")
_TYPES = {"string": "string", "number": "number", "boolean": "boolean", "enum": "string", "array": "array"}
_TOKENS = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|[{}\[\],"']""", re.DOTALL)
"""Whole texts, brackets and commas; a quote alone begins a text that does not end."""
_LONGEST = 1 << 20  # characters of a Python literal that are read: it takes fifty times as long as JSON
_DEEPEST = 100  # levels of a text that is repaired
_LIST = re.compile(r"list of (\w+) with length \d+")
_SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "NoneType": "null"}


@dataclass(frozen=True, slots=True)
class Api:
    """One API, in the server's spelling."""

    category: str
    tool: str
    name: str

    @classmethod
    def of(cls, category: str, tool: str, name: str) -> Api:
        """The API that these names mean, however they are spelled: `tool` may end in `_for_<category>`."""
        category = standard_category(category)
        tool = tool.removesuffix(f"_for_{category}")
        standard = standard_name(tool)
        return cls(category, standard, argument_name(name).removesuffix(f"_for_{standard}"))

    @classmethod
    def at(cls, url: str) -> Api | None:
        """The API with this address, None for any other URL."""
        asked, served = urlsplit(url), urlsplit(SERVER)
        parts = [unquote(part) for part in asked.path.removeprefix(served.path).strip("/").split("/")]
        if asked.netloc.lower() != served.netloc or not asked.path.startswith(f"{served.path}/") or len(parts) != 3:
            return None
        return cls(*parts)

    @property
    def path(self) -> str:
        """Its address below `SERVER`."""
        return f"/{self.category}/{self.tool}/{self.name}"

    @property
    def function(self) -> str:
        """What ToolBench's function-calling clients know it by: `songkick_artist_for_theclique`.

        They keep the last 64 characters, by which ten APIs of one query become four; these are whole.
        """
        return f"{self.name}_for_{self.tool}"


def standard_category(category: str) -> str:
    """The folder of a category: `Video, Images` → `Video_Images`."""
    return re.sub(r"[ ,/]", "_", category).replace("__", "_")


def standard_name(name: str) -> str:
    """The server's spelling of a tool or an API: lower case, words joined by single underscores, no leading digit."""
    spelled = re.sub("_{2,}", "_", _OTHER.sub("_", name)).lower().strip("_")
    return f"get_{spelled}" if spelled[:1].isdigit() else spelled


def argument_name(name: str) -> str:
    """The server's spelling of an API or an argument, with `is_` before words that Python reserves."""
    spelled = standard_name(name)
    return f"is_{spelled}" if spelled in _RESERVED else spelled


def tool(document: Mapping[str, Any]) -> Tool:
    """The tool that an entry of a query's `api_list` describes. Raises KeyError or TypeError for something else."""
    api = Api.of(document["category_name"], document["tool_name"], document["api_name"])
    parameters = [
        *_parameters(document["required_parameters"], required=True),
        *_parameters(document["optional_parameters"], required=False),
    ]
    return Tool(
        name=api.function,
        method=str(document.get("method") or "GET").upper(),
        server=SERVER,
        path=api.path,
        summary=str(document.get("api_description") or ""),
        parameters=tuple({parameter.name: parameter for parameter in reversed(parameters)}.values())[::-1],
        response=_shape(_template(document.get("template_response"))),
    )


def _parameters(documents: Iterable[Mapping[str, Any]], *, required: bool) -> Iterable[Parameter]:
    for each in documents:
        name = argument_name(str(each["name"]))
        if name:
            kind = str(each.get("type") or "string").lower()
            yield Parameter(
                name=name,
                location="query",
                type=_TYPES.get(kind, kind),
                required=required,
                description=str(each.get("description") or ""),
                default=None if each.get("default") in ("", None) else each["default"],
            )


def _template(response: JSON) -> JSON:
    """The template of a response; some are the text of one."""
    return read_text(response) if isinstance(response, str) else response


def _shape(template: JSON) -> JSON:
    """A response's template in our notation of shapes: names and types, a list as its first entry."""
    if isinstance(template, Mapping):
        return {str(name): _shape(value) for name, value in template.items() if name != "_list_length"} or None
    if isinstance(template, list):
        return [_shape(value) for value in template[:1]]
    if isinstance(template, str):
        if found := _LIST.fullmatch(template):
            return [_SCALARS.get(found[1], found[1])]
        return [] if template == "empty list" else _SCALARS.get(template, template)
    return template


def read_text(text: str, *, repair: bool = True) -> JSON:
    """The data that a text writes as JSON or as a Python literal, whose tail may be cut off; else the text itself.

    Of a cut text only what is complete is kept: an entry that was cut, and all after it, is gone. Without `repair` a
    cut text is a text.
    """
    stripped = text.strip()
    if stripped[:1] not in ("{", "[") and stripped not in ("null", "None", "true", "false", "True", "False"):
        return text
    whole = _data(stripped)
    if whole is not None or not repair:
        return text if whole is None else whole.value
    closed = _closed(stripped)
    found = _data(closed) if closed is not None else None
    return found.value if found is not None and found.value else text


@dataclass(frozen=True, slots=True)
class _Data:
    """What a text writes, which may be None."""

    value: JSON


def _data(text: str) -> _Data | None:
    """The data of a whole text, None where it writes none."""
    for read in (json.loads, ast.literal_eval) if len(text) <= _LONGEST else (json.loads,):
        try:
            data = read(text)
            if read is ast.literal_eval:
                json.dumps(data)  # a literal may hold what JSON cannot: sets, complex numbers, keys of tuples
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        return _Data(data)
    return None


def _closed(text: str) -> str | None:
    """A text that was cut off, ended after its last complete entry, with every open bracket closed.

    None for one that was not: it goes on after its last bracket is closed, or never opened one.
    """
    closing: list[str] = []
    kept, then = 0, ""
    for found in _TOKENS.finditer(text):
        token, end = found[0], found.end()
        if token in ('"', "'"):  # of a text that does not end
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
        if len(closing) > _DEEPEST:
            return None
        kept, then = end - (token == ","), "".join(reversed(closing))
    return text[:kept] + then if closing else None
