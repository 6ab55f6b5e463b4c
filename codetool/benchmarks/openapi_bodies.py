"""Request bodies of an OpenAPI document as parameters, each with a word on how to send it.

An object that is sent as JSON or as a form becomes a parameter for each property; any other body becomes the one
parameter `body`. JSON needs no word for its properties.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from codetool.benchmarks.json_schema import Document, kinds, properties, resolve

log = logging.getLogger(__name__)

JSON_TYPE = re.compile(r"application/(.+\+)?json(;.*)?|\*/\*|application/\*", re.IGNORECASE)
_FORM_TYPE = re.compile(r"application/x-www-form-urlencoded\b", re.IGNORECASE)
_MULTIPART_TYPE = re.compile(r"multipart/", re.IGNORECASE)
_PREFERRED = (JSON_TYPE, _FORM_TYPE, _MULTIPART_TYPE, re.compile("text/plain", re.IGNORECASE), re.compile(""))
WHOLE = "body"
"""Name of the parameter that is the whole body, as the broker names it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a request body: a property of it, or the whole."""

    name: str
    schema: Mapping[str, Any]
    required: bool
    word: str
    """How to send it, empty for a property of a JSON object."""


def json_content(content: Any) -> Mapping[str, Any]:
    """The entry of a `content` object for JSON, empty where it has none."""
    for kind, entry in content.items() if isinstance(content, Mapping) else ():
        if JSON_TYPE.fullmatch(str(kind)) and isinstance(entry, Mapping):
            return entry
    return {}


def fields(document: Document, raw: Any, where: str) -> Iterator[Field]:
    """The fields of a request body. What its document does not describe well enough is warned of by name.

    Raises:
        ConfigError: The body is malformed or refers to what is not there.
    """
    if raw is None:
        return
    body = resolve(document, raw, where)
    content = body.get("content")
    if not isinstance(content, Mapping) or not content:
        log.warning("%s: no content; the tool has no parameters for its body.", where)
        return
    kind = min(map(str, content), key=_rank)
    entry = content.get(kind)
    schema = entry.get("schema") if isinstance(entry, Mapping) else None
    yield from _fields(document, kind, {} if schema is None else schema, bool(body.get("required")), where)


def _fields(document: Document, kind: str, raw: Any, required: bool, where: str) -> Iterator[Field]:
    schema: Mapping[str, Any] = {} if isinstance(raw, bool) else resolve(document, raw, where)
    is_json, is_multipart = JSON_TYPE.fullmatch(kind) is not None, _MULTIPART_TYPE.match(kind) is not None
    is_form = _FORM_TYPE.match(kind) is not None
    found, named = properties(document, schema, where) if is_json or is_form or is_multipart else ({}, frozenset[str]())
    for name, value in found.items():
        property_ = {} if isinstance(value, bool) else resolve(document, value, f"{where} {name}")
        if property_.get("readOnly") is True:
            continue
        yield Field(name, property_, name in named, "" if is_json else _field_word(kind, is_multipart, property_))
    if not found:
        yield Field(WHOLE, schema, required, _whole_word(kind, is_json, schema, where))


def _field_word(kind: str, is_multipart: bool, schema: Mapping[str, Any]) -> str:
    if not is_multipart:
        return "Form field: send with data={…}."
    is_file = schema.get("format") in ("binary", "base64") or "contentMediaType" in schema
    return (
        f"File of a {kind} body: send with files={{…}}."
        if is_file
        else f"Field of a {kind} body: send with data={{…}}."
    )


def _whole_word(kind: str, is_json: bool, schema: Mapping[str, Any], where: str) -> str:
    if is_json:
        what = "array" if "array" in kinds(schema) or "items" in schema else "value"
        return f"The whole body, one JSON {what}: send with json=…."
    if not kind.lower().startswith("text/"):
        log.warning("%s: a body of %s has no named fields here; it is the one parameter `%s`.", where, kind, WHOLE)
    return f"The whole body as {kind}: send with data=…."


def _rank(kind: str) -> int:
    return next(rank for rank, pattern in enumerate(_PREFERRED) if pattern.match(kind))
