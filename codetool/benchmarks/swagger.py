"""Convert Swagger 2 documents to OpenAPI 3, as far as tools need it.

Converted are: host, base path and schemes; body and form parameters; types of parameters and the format of arrays;
schemas of responses; API keys. References into `definitions`, `parameters` and `responses` stay, since these parts are
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetool.benchmarks.json_schema import Document, get_list, resolve_reference
from codetool.errors import ConfigError

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_NO_SCHEMA = frozenset({"name", "in", "required", "description", "collectionFormat", "allowEmptyValue"})
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "csv": {"explode": False},
    "multi": {"explode": True},
    "ssv": {"style": "spaceDelimited", "explode": False},
    "pipes": {"style": "pipeDelimited", "explode": False},
    "tsv": {"style": "tabDelimited", "explode": False},
}


def convert_to_openapi_3(document: Document) -> Document:
    """Return the document as OpenAPI 3. Raises ConfigError if it names no host; malformed operations stay unchanged."""
    paths: Any = document.get("paths") if _is_map(document.get("paths")) else None
    return {
        **document,
        "openapi": "3.0.3",
        "servers": [{"url": _convert_server(document)}],
        "components": {"securitySchemes": document.get("securityDefinitions") or {}},
        "paths": {path: _convert_path_item(document, item) for path, item in paths.items()} if paths else None,
    }


def _convert_server(document: Document) -> str:
    host, base = str(document.get("host") or ""), str(document.get("basePath") or "")
    if not host:
        raise ConfigError("host: a Swagger 2 document has to name the service's host, such as api.example.com.")
    schemes = get_list(document, "schemes") or ["https"]
    scheme = "https" if "https" in schemes or "http" not in schemes else "http"
    return f"{scheme}://{host}/{base.strip('/')}".rstrip("/")


def _convert_path_item(document: Document, raw: Any) -> Any:
    try:
        item = resolve_reference(document, raw, "paths")
    except ConfigError:
        return raw  # `parse_tools` refuses it by name
    shared = get_list(item, "parameters")
    operations = {key: value for key, value in item.items() if key in METHODS}
    return {
        **{key: value for key, value in item.items() if key != "parameters"},
        **{key: _convert_operation(document, shared, value) for key, value in operations.items()},
    }


def _convert_operation(document: Document, shared: list[Any], raw: Any) -> Any:
    if not _is_map(raw):
        return raw
    try:
        entries = [
            resolve_reference(document, entry, "parameters") for entry in (*shared, *get_list(raw, "parameters"))
        ]
    except ConfigError:
        return {**raw, "parameters": [*shared, *get_list(raw, "parameters")]}
    by_name = {(str(entry.get("in")), str(entry.get("name"))): entry for entry in entries}
    consumes = [str(kind) for kind in get_list(raw, "consumes") or get_list(document, "consumes")]
    body = _convert_body([entry for entry in by_name.values() if entry.get("in") in ("body", "formData")], consumes)
    return {
        **raw,
        "parameters": [
            _convert_parameter(entry) for entry in by_name.values() if entry.get("in") not in ("body", "formData")
        ],
        **({"requestBody": body} if body else {}),
        "responses": _convert_responses(document, raw.get("responses")),
    }


def _convert_parameter(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = {key: value for key, value in entry.items() if key not in _NO_SCHEMA}
    fields = {key: entry[key] for key in ("name", "in", "required", "description") if key in entry}
    style = _STYLES.get(str(entry.get("collectionFormat") or "csv"), {}) if entry.get("type") == "array" else {}
    return {**fields, "schema": schema, **style}


def _convert_body(entries: list[Mapping[str, Any]], consumes: list[str]) -> Mapping[str, Any] | None:
    """Convert the body or form parameters of an operation to a request body; None without any."""
    for entry in entries:
        if entry.get("in") == "body":
            kind = next((kind for kind in consumes if "json" in kind), consumes[0] if consumes else "application/json")
            return {
                "description": entry.get("description"),
                "required": bool(entry.get("required")),
                "content": {kind: {"schema": entry.get("schema") or {}}},
            }
    if not entries:
        return None
    files = any(entry.get("type") == "file" for entry in entries)
    kind = (
        "multipart/form-data" if files or consumes == ["multipart/form-data"] else "application/x-www-form-urlencoded"
    )
    fields = {str(entry.get("name")): _convert_form_field(entry) for entry in entries}
    required = [str(entry.get("name")) for entry in entries if entry.get("required")]
    return {"content": {kind: {"schema": {"type": "object", "properties": fields, "required": required}}}}


def _convert_form_field(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = {key: value for key, value in entry.items() if key not in _NO_SCHEMA} | {
        "description": entry.get("description")
    }
    return {**schema, "type": "string", "format": "binary"} if entry.get("type") == "file" else schema


def _convert_responses(document: Document, raw: Any) -> Any:
    if not _is_map(raw):
        return {}
    by_name = {}
    for status, entry in raw.items():
        try:
            response = resolve_reference(document, entry, f"response {status}")
        except ConfigError:
            continue
        content = {"application/json": {"schema": response["schema"]}} if "schema" in response else {}
        by_name[status] = {"description": response.get("description", ""), "content": content}
    return by_name


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
