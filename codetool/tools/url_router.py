"""Match URLs against the templates of a set of tools, with a trie of path segments."""

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
    """A tool and the values of its template's variables, as (name, value) in order of appearance."""

    tool: Tool
    variables: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _TrieNode:
    """A node of the trie: its literal segments, its segments with text around a variable, and its variable segment."""

    literals: dict[str, _TrieNode] = field(default_factory=dict)
    patterns: dict[re.Pattern[str], _TrieNode] = field(default_factory=dict)
    anything: _TrieNode | None = None
    tools: dict[str, tuple[Tool, tuple[str, ...]]] = field(default_factory=dict)
    """Of each method, the tool whose template ends here and the names of its variables."""


class Router:
    """Finds the tool of a method, host and path. Of two tools with the same method and template the first is used."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._hosts: dict[str, _TrieNode] = {}
        for tool in tools:
            self._add(tool)

    def find(self, method: str, host: str | None, segments: Sequence[str]) -> Match | None:
        """The tool for these decoded path segments; at each segment, a literal is preferred to a variable."""
        root = self._hosts.get(host or "")
        match = _descend(root, method, segments, ()) if root else None
        if match is None:
            return None
        (tool, names), values = match
        return Match(tool, tuple(zip(names, values, strict=True)))

    def _add(self, tool: Tool) -> None:
        host = extract_host(tool.server)
        if host is None:
            return
        node = self._hosts.setdefault(host, _TrieNode())
        template = (urlsplit(tool.server).path + tool.path).strip("/")
        for segment in template.split("/"):
            node = _add_segment(node, segment)
        node.tools.setdefault(tool.method, (tool, tuple(_VARIABLE.findall(template))))


@lru_cache(maxsize=256)
def _build_router(tools: _IdentityKey) -> Router:
    return Router(tools.tools)


def get_router(tools: tuple[Tool, ...]) -> Router:
    """The router of these tools, built once for each tuple."""
    return _build_router(_IdentityKey(tools))


class _IdentityKey:
    """A tuple of tools as a cache key, compared by identity because tools hold dictionaries."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = tools

    def __hash__(self) -> int:
        return id(self.tools)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.tools is other.tools


def _add_segment(node: _TrieNode, segment: str) -> _TrieNode:
    """The node after a segment of a template; it is created if needed."""
    if _VARIABLE.fullmatch(segment):
        node.anything = node.anything or _TrieNode()
        return node.anything
    if _VARIABLE.search(segment):
        texts = _VARIABLE.split(segment)[::2]
        pattern = re.compile("(.+?)".join(re.escape(unquote(text)) for text in texts), re.DOTALL)
        return node.patterns.setdefault(pattern, _TrieNode())
    return node.literals.setdefault(unquote(segment), _TrieNode())


def _descend(
    node: _TrieNode, method: str, segments: Sequence[str], values: tuple[str, ...]
) -> tuple[tuple[Tool, tuple[str, ...]], tuple[str, ...]] | None:
    """The tool at the end of `segments` and the values of its variables; literal matches are tried first."""
    if not segments:
        tool = node.tools.get(method)
        return (tool, values) if tool else None
    segment, rest = segments[0], segments[1:]
    branches = [(node.literals.get(segment), values)]
    if segment not in ("", ".", ".."):
        branches += [(child, values + m.groups()) for p, child in node.patterns.items() if (m := p.fullmatch(segment))]
        branches.append((node.anything, (*values, segment)))
    matches = (_descend(child, method, rest, collected) for child, collected in branches if child)
    return next((match for match in matches if match), None)
