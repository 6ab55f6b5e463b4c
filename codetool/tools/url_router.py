"""URL templates of a set of tools as one tree of path segments, so that a match costs no more than the path is long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from codetool.tools.allow_list import extract_host
from codetool.types import Tool

_VARIABLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Match:
    """A tool and the value of each variable of its template, in order of appearance."""

    tool: Tool
    variables: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _TrieNode:
    """What may follow a prefix of a path: literal segments, segments with text around a variable, any segment."""

    literals: dict[str, _TrieNode] = field(default_factory=dict)
    patterns: dict[re.Pattern[str], _TrieNode] = field(default_factory=dict)
    anything: _TrieNode | None = None
    tools: dict[str, tuple[Tool, tuple[str, ...]]] = field(default_factory=dict)
    """By method, the tool whose template ends here and the names of its variables."""


class Router:
    """The tools of a set by host, path and method. Of two tools with one method and template the first counts."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._hosts: dict[str, _TrieNode] = {}
        for tool in tools:
            self._add(tool)

    def find(self, method: str, host: str | None, segments: Sequence[str]) -> Match | None:
        """The tool for these decoded path segments; at each segment from the left a literal goes before a variable."""
        place = self._hosts.get(host or "")
        found = _descend(place, method, segments, ()) if place else None
        if found is None:
            return None
        (tool, names), values = found
        return Match(tool, tuple(zip(names, values, strict=True)))

    def _add(self, tool: Tool) -> None:
        host = extract_host(tool.server)
        if host is None:
            return
        place = self._hosts.setdefault(host, _TrieNode())
        template = (urlsplit(tool.server).path + tool.path).strip("/")
        for segment in template.split("/"):
            place = _add_segment(place, segment)
        place.tools.setdefault(tool.method, (tool, tuple(_VARIABLE.findall(template))))


@lru_cache(maxsize=256)
def _build_router(tools: _IdentityKey) -> Router:
    return Router(tools.tools)


def get_router(tools: tuple[Tool, ...]) -> Router:
    """The index of these tools, built once for each tuple."""
    return _build_router(_IdentityKey(tools))


class _IdentityKey:
    """A tuple of tools as a cache key. Tools hold dictionaries, so it is the tuple's identity that counts."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = tools

    def __hash__(self) -> int:
        return id(self.tools)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.tools is other.tools


def _add_segment(place: _TrieNode, segment: str) -> _TrieNode:
    """The place after a segment of a template, made if it is new."""
    if _VARIABLE.fullmatch(segment):
        place.anything = place.anything or _TrieNode()
        return place.anything
    if _VARIABLE.search(segment):
        texts = _VARIABLE.split(segment)[::2]
        pattern = re.compile("(.+?)".join(re.escape(unquote(text)) for text in texts), re.DOTALL)
        return place.patterns.setdefault(pattern, _TrieNode())
    return place.literals.setdefault(unquote(segment), _TrieNode())


def _descend(
    place: _TrieNode, method: str, segments: Sequence[str], values: tuple[str, ...]
) -> tuple[tuple[Tool, tuple[str, ...]], tuple[str, ...]] | None:
    """The tool below a place and the variables' values on the way, the most literal way first."""
    if not segments:
        tool = place.tools.get(method)
        return (tool, values) if tool else None
    segment, rest = segments[0], segments[1:]
    ways = [(place.literals.get(segment), values)]
    if segment not in ("", ".", ".."):
        ways += [(after, values + m.groups()) for p, after in place.patterns.items() if (m := p.fullmatch(segment))]
        ways.append((place.anything, (*values, segment)))
    found = (_descend(after, method, rest, collected) for after, collected in ways if after)
    return next((tool for tool in found if tool), None)
