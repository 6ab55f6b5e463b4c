"""Resolve references in an OpenAPI document and reduce its JSON schemas to the names and types for prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from codetool.errors import ConfigError
from codetool.types import JSON

log = logging.getLogger(__name__)

Document = Mapping[str, Any]
MAX_LEVELS = 13
"""Maximum nesting levels of a summary; combinations (`allOf`, `oneOf`, `anyOf`) count as one level."""
MAX_NODES = 500
"""Maximum names and types in a summary. A larger one is cut at the deepest level at which it is small enough."""
MAX_PROPERTIES = 60
"""Maximum properties of one object, and maximum alternatives of one value."""
MAX_REFERENCES = 50
"""Maximum number of references on the way from one to the object that it stands for."""
COMBINATIONS = ("allOf", "oneOf", "anyOf")
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class _TooLargeError(Exception):
    """A summary has more than `MAX_NODES` nodes at this depth."""


def resolve_reference(document: Document, node: Any, where: str) -> Mapping[str, Any]:
    """Return the object that `node` is or refers to.

    Raises ConfigError if a reference is dangling, circular or external.
    """
    node = _follow(document, node, where, set())
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}: {node!r} is not an object.")
    return node


def summarize(document: Document, schema: Any, where: str) -> JSON:
    """Summarize a schema as nested names and types: `{"id": "integer", "cast": [{"name": "string"}]}`.

    The summary has at most `MAX_NODES` nodes. A recursion ends as `object`. A reference that cannot be resolved becomes
    `any`, with a warning.
    """
    warned: dict[str, None] = {}
    for levels in range(MAX_LEVELS, 0, -1):
        try:
            summary = _Summarizer(document, levels, warned).summarize(schema, where, ())
        except _TooLargeError:
            continue
        for message in warned:
            log.warning("%s It is shown as `any`.", message)
        return summary
    return "object"


def type_name(document: Document, schema: Mapping[str, Any], where: str) -> str:
    """Return the type of a value as one word: `integer`, `array`, `object`."""
    try:
        summary = _Summarizer(document, 3, {}).summarize(schema, where, ())
    except _TooLargeError:
        return "object"
    if isinstance(summary, str):
        return summary.removesuffix(" | null")
    return "array" if isinstance(summary, list) else "object"


def merge_properties(document: Document, schema: Any, where: str) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the properties of an object schema and the names of the required ones, with combinations merged.

    In `oneOf` and `anyOf` a name is required only if every alternative requires it.
    """
    return _merge_properties(document, schema, where, {}, 0)


def get_list(schema: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list under a key of a schema, empty if there is none."""
    value = schema.get(key)
    return list(value) if isinstance(value, list | tuple) else []


def type_names(schema: Mapping[str, Any]) -> list[str]:
    """Return the types of a schema, else those of its constant or choices; `null` comes last if it may be null."""
    raw = schema.get("type")
    names = [str(name) for name in raw] if isinstance(raw, list) else [str(raw)] if raw else []
    if not names:
        values = [schema["const"]] if "const" in schema else get_list(schema, "enum")
        names = list(dict.fromkeys(_TYPES.get(type(value), "string") for value in values if value is not None))
    names = [name for name in names if name != "null"] + ["null"] * ("null" in names)
    return names + (["null"] if schema.get("nullable") is True and "null" not in names else [])


_MergedProperties = tuple[dict[str, Any], frozenset[str]]


def _merge_properties(
    document: Document, raw: Any, where: str, cache: dict[str, _MergedProperties], level: int
) -> _MergedProperties:
    """Merge the properties of a schema; `cache` has those of references, so that each is merged once."""
    reference = raw.get("$ref") if isinstance(raw, Mapping) else None
    if isinstance(raw, bool) or level > MAX_LEVELS:
        return {}, frozenset()
    if reference is not None:
        if str(reference) not in cache:
            cache[str(reference)] = ({}, frozenset())  # the contribution of a recursion
            cache[str(reference)] = _merge_properties(
                document, resolve_reference(document, raw, where), where, cache, level
            )
        return cache[str(reference)]
    schema = resolve_reference(document, raw, where)
    merged: dict[str, Any] = {}
    required = frozenset(map(str, get_list(schema, "required")))
    for key in COMBINATIONS:
        parts = [
            _merge_properties(document, part, where, cache, level + 1)
            for part in get_list(schema, key)[:MAX_PROPERTIES]
        ]
        for part, _ in parts:
            merged |= part
        sets = [names for _, names in parts]
        if sets:
            required |= frozenset().union(*sets) if key == "allOf" else frozenset.intersection(*sets)
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise ConfigError(f"{where}: properties is {properties!r}, not an object.")
    return merged | {str(name): value for name, value in properties.items() if name not in (None, "")}, required


def _follow(document: Document, node: Any, where: str, seen: set[str]) -> Any:
    while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        if reference in seen:
            raise ConfigError(f"{where}: {reference[:200]} refers to itself.")
        if len(seen) >= MAX_REFERENCES:
            raise ConfigError(f"{where}: more than {MAX_REFERENCES} references lead from one to the next.")
        seen.add(reference)
        node = _lookup(document, reference, where, seen)
    return node


def _lookup(document: Document, reference: str, where: str, seen: set[str]) -> Any:
    """Return the value at a JSON pointer; references on the way are followed."""
    if reference not in ("#", "#/") and not reference.startswith("#/"):
        raise ConfigError(f"{where}: {reference} lies outside the document; put it under components.")
    node: Any = document
    for part in reference[2:].split("/") if len(reference) > 2 else ():
        if isinstance(node, Mapping) and "$ref" in node and part not in node:
            node = _follow(document, node, where, seen)
        keys = [spelled.replace("~1", "/").replace("~0", "~") for spelled in (part, unquote(part))]
        node = _get_child(node, keys, ConfigError(f"{where}: {reference} points nowhere."))
    return node


def _get_child(node: Any, keys: Iterable[str], missing: ConfigError) -> Any:
    for key in keys:
        if isinstance(node, Mapping) and key in node:
            return node[key]
        if isinstance(node, Mapping) and key.isdecimal() and int(key) in node:  # YAML reads a status as a number
            return node[int(key)]
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            return node[int(key)]
    raise missing


class _Summarizer:
    """Summarizes a schema down to a level and counts the nodes."""

    def __init__(self, document: Document, levels: int, warned: dict[str, None]) -> None:
        self._document, self._levels, self._warned = document, levels, warned
        self._nodes = 0

    def summarize(self, raw: Any, where: str, above: tuple[str, ...]) -> JSON:
        """Summarize a schema; `above` has one reference for each level above it, empty for a level without one."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooLargeError
        if isinstance(raw, bool):  # JSON schema's "anything" and "nothing"
            return "any"
        reference = raw.get("$ref") if isinstance(raw, Mapping) else None
        if reference is not None and reference in above:
            return "object"
        try:
            schema = resolve_reference(self._document, raw, where)
        except ConfigError as error:
            self._warned[str(error)] = None
            return "any"
        below, kind = (*above, str(reference or "")), type_names(schema)
        if any(key in schema for key in COMBINATIONS):
            return self._summarize_combination(schema, where, below)
        if "properties" in schema or "object" in kind:
            return self._summarize_object(schema, where, below)
        if "items" in schema or "prefixItems" in schema or "array" in kind:
            return self._summarize_array(schema, where, below)
        return " | ".join(kind) or "any"

    def _summarize_array(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        items = schema.get("items", next(iter(get_list(schema, "prefixItems")), None))
        return [self.summarize(items, where, above)] if items is not None and len(above) < self._levels else "array"

    def _summarize_object(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        declared = schema.get("properties") or {}
        if not isinstance(declared, Mapping):
            raise ConfigError(f"{where}: properties is {declared!r}, not an object.")
        if not declared or len(above) >= self._levels:
            return "object"
        properties = [(str(name), value) for name, value in declared.items() if name not in (None, "")][:MAX_PROPERTIES]
        return {name: self.summarize(value, f"{where}.{name}", above) for name, value in properties}

    def _summarize_combination(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        """Merge objects into one with all properties; list other alternatives as `a | b`."""
        if len(above) > self._levels:
            return "object"
        base = {key: value for key, value in schema.items() if key not in COMBINATIONS}
        parts = [part for key in COMBINATIONS for part in get_list(schema, key)][:MAX_PROPERTIES]
        summaries = [self.summarize(part, where, above) for part in ([base] if "properties" in base else []) + parts]
        objects = [part for part in summaries if isinstance(part, dict)]
        if objects:
            return {name: value for part in objects for name, value in part.items()}
        lists = [part for part in summaries if isinstance(part, list)]
        return lists[0] if lists else " | ".join(_split_types(summaries, bool(schema.get("nullable"))))


def _split_types(summaries: list[JSON], nullable: bool) -> Iterator[str]:
    types = [type_ for part in summaries for type_ in str(part).split(" | ")] + (["null"] if nullable else [])
    types.sort(key=lambda type_: type_ == "null")
    yield from dict.fromkeys(types)
