"""Convert request bodies of an OpenAPI document to fields, each with a note on how to send it.

An object sent as JSON or as a form becomes one field per property; any other body becomes the single field `body`.
Properties of a JSON object have an empty note.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codetool.benchmarks.json_schema import Document, merge_properties, resolve_reference, type_names

log = logging.getLogger(__name__)

JSON_TYPE = re.compile(r"application/(.+\+)?json(;.*)?|\*/\*|application/\*", re.IGNORECASE)
_FORM_TYPE = re.compile(r"application/x-www-form-urlencoded\b", re.IGNORECASE)
_MULTIPART_TYPE = re.compile(r"multipart/", re.IGNORECASE)
_PREFERRED = (JSON_TYPE, _FORM_TYPE, _MULTIPART_TYPE, re.compile("text/plain", re.IGNORECASE), re.compile(""))
WHOLE_BODY = "body"
"""Name of the parameter that contains the whole body, as in the broker."""


@dataclass(frozen=True, slots=True)
class BodyField:
    """A property of a request body, or the whole body."""

    name: str
    schema: Mapping[str, Any]
    required: bool
    word: str
    """Note on how to send it, empty for a property of a JSON object."""


def json_content(content: Any) -> Mapping[str, Any]:
    """Return the entry of a `content` object for JSON, empty if there is none."""
    for kind, entry in content.items() if isinstance(content, Mapping) else ():
        if JSON_TYPE.fullmatch(str(kind)) and isinstance(entry, Mapping):
            return entry
    return {}


def parse_fields(document: Document, raw: Any, where: str) -> Iterator[BodyField]:
    """Yield the fields of a request body, with warnings that name insufficient descriptions.

    Raises:
        ConfigError: The body is malformed, or one of its references cannot be resolved.
    """
    if raw is None:
        return
    body = resolve_reference(document, raw, where)
    content = body.get("content")
    if not isinstance(content, Mapping) or not content:
        log.warning("%s: no content; the tool has no parameters for its body.", where)
        return
    kind = min(map(str, content), key=_rank_media_type)
    entry = content.get(kind)
    schema = entry.get("schema") if isinstance(entry, Mapping) else None
    yield from _parse_content(document, kind, {} if schema is None else schema, bool(body.get("required")), where)


def _parse_content(document: Document, kind: str, raw: Any, required: bool, where: str) -> Iterator[BodyField]:
    schema: Mapping[str, Any] = {} if isinstance(raw, bool) else resolve_reference(document, raw, where)
    is_json, is_multipart = JSON_TYPE.fullmatch(kind) is not None, _MULTIPART_TYPE.match(kind) is not None
    is_form = _FORM_TYPE.match(kind) is not None
    declared, required_names = (
        merge_properties(document, schema, where) if is_json or is_form or is_multipart else ({}, frozenset[str]())
    )
    for name, value in declared.items():
        property_ = {} if isinstance(value, bool) else resolve_reference(document, value, f"{where} {name}")
        if property_.get("readOnly") is True:
            continue
        yield BodyField(
            name, property_, name in required_names, "" if is_json else _describe_field(kind, is_multipart, property_)
        )
    if not declared:
        yield BodyField(WHOLE_BODY, schema, required, _describe_body(kind, is_json, schema, where))


def _describe_field(kind: str, is_multipart: bool, schema: Mapping[str, Any]) -> str:
    if not is_multipart:
        return "Form field: send with data={…}."
    is_file = schema.get("format") in ("binary", "base64") or "contentMediaType" in schema
    return (
        f"File of a {kind} body: send with files={{…}}."
        if is_file
        else f"Field of a {kind} body: send with data={{…}}."
    )


def _describe_body(kind: str, is_json: bool, schema: Mapping[str, Any], where: str) -> str:
    if is_json:
        json_type = "array" if "array" in type_names(schema) or "items" in schema else "value"
        return f"The whole body, one JSON {json_type}: send with json=…."
    if not kind.lower().startswith("text/"):
        log.warning("%s: a body of %s has no named fields here; it is the one parameter `%s`.", where, kind, WHOLE_BODY)
    return f"The whole body as {kind}: send with data=…."


def _rank_media_type(kind: str) -> int:
    return next(rank for rank, pattern in enumerate(_PREFERRED) if pattern.match(kind))
