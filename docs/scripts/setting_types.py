"""Describe the type of a setting in words, from the annotation of the class that reads it."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pydoc import locate
from typing import Any

import yaml
from pydantic import PydanticUserError, TypeAdapter

from codetool.runs.identity import find_mark, read_field_hints
from codetool.runs.operational import Mark

NAMES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def find_hints(target: str | None, hint: Any = None) -> Mapping[str, Any]:
    """Return the annotations of a block's settings, from its `_target_` or from the class that annotates the block."""
    if target is not None:
        return read_field_hints(locate(target))
    for part in (hint, *typing.get_args(hint)):
        if isinstance(part, type) and is_dataclass(part):
            return read_field_hints(part)
    return {}


def find_item_hint(hint: Any) -> Any:
    """Return the annotation of the values of a mapping; None if it is no mapping."""
    for part in (hint, *typing.get_args(hint)):
        origin = typing.get_origin(part)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return typing.get_args(part)[-1]
    return None


def is_operational(hint: Any) -> bool:
    """Whether the setting is left out of the identity of a result."""
    return find_mark(hint) is Mark.OPERATIONAL


def describe_type(hint: Any) -> str:
    """Describe an annotation: `integer ≥ 1`, `a, b or null`; `settings` for what has no simple form."""
    if hint is None:
        return "settings"
    try:
        schema = TypeAdapter(hint).json_schema()
    except (PydanticUserError, TypeError):
        return "settings"
    return " or ".join(dict.fromkeys(_describe(schema, schema.get("$defs", {}))))


def describe_value(text: str | None) -> str:
    """Describe the type of a default where nothing annotates the setting; `settings` for null and for blocks."""
    value = yaml.safe_load(text or "null") if text not in ("|", ">", "???") else ""
    names = {bool: "true or false", int: "integer", float: "number", str: "text", list: "list"}
    return names.get(type(value), "settings")


def _describe(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Return the alternatives that a JSON schema allows."""
    if "$ref" in schema:
        return _describe(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return [text for part in schema["anyOf"] for text in _describe(part, definitions)]
    if "enum" in schema or "const" in schema:
        return [f"`{value}`" for value in schema.get("enum", [schema.get("const")])]
    kind = schema.get("type", "any value")
    if kind == "array":
        items = " or ".join(_describe(schema.get("items", {}), definitions))
        return [f"list of {items}" if items != "any value" else "list"]
    if kind == "object":
        return ["settings"]
    if schema.get("format") in ("path", "file-path", "directory-path"):
        return ["path"]
    bounds = [f"{sign} {schema[key]:,}" for key, sign in BOUNDS.items() if key in schema]
    return [" ".join([NAMES.get(kind, kind), ", ".join(bounds)]).strip()]
