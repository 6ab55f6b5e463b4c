"""References and JSON schemas of an OpenAPI document, reduced to the names and types that a prompt needs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from codetool.errors import ConfigError
from codetool.types import JSON

log = logging.getLogger(__name__)

Document = Mapping[str, Any]
LEVELS = 13
"""Levels of nesting that a shape keeps at most; alternatives (`allOf`, `oneOf`, `anyOf`) count as one."""
NODES = 500
"""Names and types that a shape holds at most. A larger one is cut at the deepest level at which it is small enough."""
PROPERTIES = 60
"""Properties of one object, and alternatives of one value, that are kept."""
COMBINATIONS = ("allOf", "oneOf", "anyOf")
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class _TooLargeError(Exception):
    """A shape has more than `NODES` nodes at this depth."""


def resolve(document: Document, node: Any, where: str) -> Mapping[str, Any]:
    """The object that `node` is or refers to. Raises ConfigError for a dangling, circular or outside reference."""
    node = _follow(document, node, where, set())
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}: {node!r} is not an object.")
    return node


def shape(document: Document, schema: Any, where: str) -> JSON:
    """Nested names and types: `{"id": "integer", "cast": [{"name": "string"}]}`; a recursion ends as `object`.

    It has at most `NODES` nodes. A reference that cannot be followed is warned of and becomes `any`.
    """
    warned: dict[str, None] = {}
    for levels in range(LEVELS, 0, -1):
        try:
            found = _Shape(document, levels, warned).of(schema, where, ())
        except _TooLargeError:
            continue
        for message in warned:
            log.warning("%s It is shown as `any`.", message)
        return found
    return "object"


def type_name(document: Document, schema: Mapping[str, Any], where: str) -> str:
    """One word for a value's type: `integer`, `array`, `object`."""
    try:
        found = _Shape(document, 3, {}).of(schema, where, ())
    except _TooLargeError:
        return "object"
    if isinstance(found, str):
        return found.removesuffix(" | null")
    return "array" if isinstance(found, list) else "object"


def properties(document: Document, schema: Any, where: str) -> tuple[dict[str, Any], frozenset[str]]:
    """The properties of an object schema and the names of the required ones, its combinations merged.

    A name counts as required in `oneOf` and `anyOf` only if every alternative requires it.
    """
    return _merged(document, schema, where, {}, 0)


def listed(schema: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key of a schema, empty where there is none."""
    value = schema.get(key)
    return list(value) if isinstance(value, list | tuple) else []


def kinds(schema: Mapping[str, Any]) -> list[str]:
    """The types that a schema names, else those of its constant or its choices; `null` last if it may be null."""
    raw = schema.get("type")
    found = [str(word) for word in raw] if isinstance(raw, list) else [str(raw)] if raw else []
    if not found:
        values = [schema["const"]] if "const" in schema else listed(schema, "enum")
        found = list(dict.fromkeys(_TYPES.get(type(value), "string") for value in values if value is not None))
    found = [word for word in found if word != "null"] + ["null"] * ("null" in found)
    return found + (["null"] if schema.get("nullable") is True and "null" not in found else [])


_Merged = tuple[dict[str, Any], frozenset[str]]


def _merged(document: Document, raw: Any, where: str, known: dict[str, _Merged], level: int) -> _Merged:
    """The properties of a schema; `known` are those of references, each of which is merged once."""
    reference = raw.get("$ref") if isinstance(raw, Mapping) else None
    if isinstance(raw, bool) or level > LEVELS:
        return {}, frozenset()
    if reference is not None:
        if str(reference) not in known:
            known[str(reference)] = ({}, frozenset())  # what a recursion adds
            known[str(reference)] = _merged(document, resolve(document, raw, where), where, known, level)
        return known[str(reference)]
    schema = resolve(document, raw, where)
    found: dict[str, Any] = {}
    required = frozenset(map(str, listed(schema, "required")))
    for key in COMBINATIONS:
        parts = [_merged(document, part, where, known, level + 1) for part in listed(schema, key)[:PROPERTIES]]
        for part, _ in parts:
            found |= part
        sets = [names for _, names in parts]
        if sets:
            required |= frozenset().union(*sets) if key == "allOf" else frozenset.intersection(*sets)
    own = schema.get("properties") or {}
    if not isinstance(own, Mapping):
        raise ConfigError(f"{where}: properties is {own!r}, not an object.")
    return found | {str(name): value for name, value in own.items() if name not in (None, "")}, required


def _follow(document: Document, node: Any, where: str, seen: set[str]) -> Any:
    while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        if reference in seen:
            raise ConfigError(f"{where}: {reference} refers to itself.")
        seen.add(reference)
        node = _lookup(document, reference, where, seen)
    return node


def _lookup(document: Document, reference: str, where: str, seen: set[str]) -> Any:
    """What a JSON pointer names; a reference on the way to it is followed."""
    if reference not in ("#", "#/") and not reference.startswith("#/"):
        raise ConfigError(f"{where}: {reference} lies outside the document; put it under components.")
    node: Any = document
    for part in reference[2:].split("/") if len(reference) > 2 else ():
        if isinstance(node, Mapping) and "$ref" in node and part not in node:
            node = _follow(document, node, where, seen)
        keys = [spelled.replace("~1", "/").replace("~0", "~") for spelled in (part, unquote(part))]
        node = _child(node, keys, ConfigError(f"{where}: {reference} points nowhere."))
    return node


def _child(node: Any, keys: Iterable[str], missing: ConfigError) -> Any:
    for key in keys:
        if isinstance(node, Mapping) and key in node:
            return node[key]
        if isinstance(node, Mapping) and key.isdecimal() and int(key) in node:  # YAML reads a status as a number
            return node[int(key)]
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            return node[int(key)]
    raise missing


class _Shape:
    """Builds the shape of a schema down to a level, counting its nodes."""

    def __init__(self, document: Document, levels: int, warned: dict[str, None]) -> None:
        self._document, self._levels, self._warned = document, levels, warned
        self._nodes = 0

    def of(self, raw: Any, where: str, above: tuple[str, ...]) -> JSON:
        """The shape of a schema below the references `above`, one for each level, empty for a level without one."""
        self._nodes += 1
        if self._nodes > NODES:
            raise _TooLargeError
        if isinstance(raw, bool):  # JSON schema's "anything" and "nothing"
            return "any"
        reference = raw.get("$ref") if isinstance(raw, Mapping) else None
        if reference is not None and reference in above:
            return "object"
        try:
            schema = resolve(self._document, raw, where)
        except ConfigError as error:
            self._warned[str(error)] = None
            return "any"
        below, kind = (*above, str(reference or "")), kinds(schema)
        if any(key in schema for key in COMBINATIONS):
            return self._combined(schema, where, below)
        if "properties" in schema or "object" in kind:
            return self._object(schema, where, below)
        if "items" in schema or "prefixItems" in schema or "array" in kind:
            return self._array(schema, where, below)
        return " | ".join(kind) or "any"

    def _array(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        items = schema.get("items", next(iter(listed(schema, "prefixItems")), None))
        return [self.of(items, where, above)] if items is not None and len(above) < self._levels else "array"

    def _object(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        found = schema.get("properties") or {}
        if not isinstance(found, Mapping):
            raise ConfigError(f"{where}: properties is {found!r}, not an object.")
        if not found or len(above) >= self._levels:
            return "object"
        kept = [(str(name), value) for name, value in found.items() if name not in (None, "")][:PROPERTIES]
        return {name: self.of(value, f"{where}.{name}", above) for name, value in kept}

    def _combined(self, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
        """Objects merge into one with all properties; other alternatives stand side by side."""
        if len(above) > self._levels:
            return "object"
        own = {key: value for key, value in schema.items() if key not in COMBINATIONS}
        parts = [part for key in COMBINATIONS for part in listed(schema, key)][:PROPERTIES]
        found = [self.of(part, where, above) for part in ([own] if "properties" in own else []) + parts]
        objects = [part for part in found if isinstance(part, dict)]
        if objects:
            return {name: value for part in objects for name, value in part.items()}
        lists = [part for part in found if isinstance(part, list)]
        return lists[0] if lists else " | ".join(_words(found, bool(schema.get("nullable"))))


def _words(found: list[JSON], nullable: bool) -> Iterator[str]:
    words = [word for part in found for word in str(part).split(" | ")] + (["null"] if nullable else [])
    words.sort(key=lambda word: word == "null")
    yield from dict.fromkeys(words)
