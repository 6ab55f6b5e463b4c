"""JSON schemas of an OpenAPI document, reduced to the names and types that a prompt needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codetool.errors import ConfigError
from codetool.types import JSON

Document = Mapping[str, Any]
DEPTH = 6  # levels of nesting kept
PROPERTIES = 60  # properties of one object kept


def resolve(document: Document, node: Any, where: str) -> Mapping[str, Any]:
    """The object that `node` is or refers to. Raises ConfigError for a dangling or circular reference."""
    seen: set[str] = set()
    while isinstance(node, Mapping) and "$ref" in node:
        reference = str(node["$ref"])
        if reference in seen:
            raise ConfigError(f"{where}: {reference} refers to itself.")
        seen.add(reference)
        node = _lookup(document, reference, where)
    if not isinstance(node, Mapping):
        raise ConfigError(f"{where}: {node!r} is not an object.")
    return node


def shape(document: Document, schema: Any, where: str) -> JSON:
    """Nested names and types: `{"id": "integer", "cast": [{"name": "string"}]}`; a recursion ends as `object`."""
    return _shape(document, schema, where, ())


def type_name(document: Document, schema: Mapping[str, Any], where: str) -> str:
    """One word for a value's type: `integer`, `array`, `string | null`."""
    found = shape(document, schema, where)
    if isinstance(found, str):
        return found.removesuffix(" | null")
    return "array" if isinstance(found, list) else "object"


def _lookup(document: Document, reference: str, where: str) -> Any:
    node: Any = document
    if not reference.startswith("#/"):
        raise ConfigError(f"{where}: {reference} lies outside the document; put it under components.")
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or key not in node:
            raise ConfigError(f"{where}: {reference} points nowhere.")
        node = node[key]
    return node


def _shape(document: Document, raw: Any, where: str, above: tuple[str, ...]) -> JSON:
    if isinstance(raw, bool):  # JSON schema's "anything" and "nothing"
        return "any"
    reference = raw.get("$ref") if isinstance(raw, Mapping) else None
    if reference in above or len(above) > 4 * DEPTH:
        return "object"
    schema = resolve(document, raw, where)
    above = (*above, reference or "")
    kind = _kind(schema)
    if "allOf" in schema or "oneOf" in schema or "anyOf" in schema:
        return _combined(document, schema, where, above)
    if "properties" in schema or "object" in kind:
        return _object(document, schema, where, above)
    if "items" in schema or "array" in kind:
        return [_shape(document, schema["items"], where, above)] if _deeper(schema, above) else "array"
    return " | ".join(kind) or "any"


def _deeper(schema: Mapping[str, Any], above: tuple[str, ...]) -> bool:
    return "items" in schema and len(above) <= 2 * DEPTH


def _object(document: Document, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise ConfigError(f"{where}: properties is {properties!r}, not an object.")
    if not properties or len(above) > 2 * DEPTH:
        return "object"
    kept = [item for item in properties.items() if item[0]][:PROPERTIES]
    return {name: _shape(document, value, f"{where}.{name}", above) for name, value in kept}


def _combined(document: Document, schema: Mapping[str, Any], where: str, above: tuple[str, ...]) -> JSON:
    """Objects merge into one with all properties; other alternatives stand side by side."""
    own = {key: value for key, value in schema.items() if key not in ("allOf", "oneOf", "anyOf")}
    parts = [part for key in ("allOf", "oneOf", "anyOf") for part in schema.get(key) or ()]
    found = [_shape(document, part, where, above) for part in ([own] if "properties" in own else []) + parts]
    objects = [part for part in found if isinstance(part, dict)]
    if objects:
        return {name: value for part in objects for name, value in part.items()}
    lists = [part for part in found if isinstance(part, list)]
    return lists[0] if lists else " | ".join(_words(found, bool(schema.get("nullable"))))


def _words(found: list[JSON], nullable: bool) -> Iterator[str]:
    words = [word for part in found for word in str(part).split(" | ")] + (["null"] if nullable else [])
    words.sort(key=lambda word: word == "null")
    yield from dict.fromkeys(words)


def _kind(schema: Mapping[str, Any]) -> list[str]:
    raw = schema.get("type")
    if raw is None and "const" in schema:
        raw = "string"
    kind = [str(word) for word in raw] if isinstance(raw, list) else [str(raw)] if raw else []
    if not kind and "enum" in schema:
        kind = ["string"]
    return kind + (["null"] if schema.get("nullable") and "null" not in kind else [])
