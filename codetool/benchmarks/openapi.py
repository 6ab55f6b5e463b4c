"""OpenAPI 3 documents → `Tool`s: what a prompt shows and the broker matches.

Path, query and header parameters and JSON body properties become arguments. Cookies and security schemes are left out,
and so is every parameter, default or text that carries a secret: the broker adds keys after the sandbox. An operation's
`x-effect: read` or `x-effect: write` says what a call does where the method does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codetool.benchmarks.json_schema import Document, resolve, shape, type_name
from codetool.errors import ConfigError
from codetool.types import JSON, Effect, Parameter, Tool

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SECRET = re.compile(
    r"^(x|rapid|xrapid)*(api|app|access|private|subscription)key$"
    r"|^(access|api|app|auth|bearer|csrf|guest|id|oauth|refresh|request|session|security|user)*token$"
    r"|sessionid$|authorization|passw(or)?d|secret|bearer"
)
SECRET_TEXT = re.compile(r"\bbearer\s+\S+|\beyJ[\w-]{8,}[\w.-]*|\b[0-9a-f]{32,}\b", re.I)
HEADERS_OF_THEIR_OWN = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI (3.0, 4.7.12) takes from other parts of a document and not from its parameters."""
TEXT_LIMIT = 200  # characters of a description


@dataclass(frozen=True)
class _Operation:
    """One method of one path, with where it stands for error messages."""

    method: str
    path: str
    item: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"{self.method} {self.path}"


def tools(document: Mapping[str, Any]) -> tuple[Tool, ...]:
    """One tool for each operation, in document order.

    Raises:
        ConfigError: The document is malformed; the message names the place.
    """
    if not str(document.get("openapi", "")).startswith("3"):
        raise ConfigError(f"openapi: {document.get('openapi')!r} is not version 3; give an OpenAPI 3 document.")
    secrets = frozenset(_key_names(document))
    return tuple(_tool(document, operation, secrets) for operation in _operations(document))


def tool_name(method: str, path: str) -> str:
    """The name in the reference data's notation: `GET /movie/{movie_id}` → `GET_movie_movie_id`."""
    return f"{method}_" + re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")


def _key_names(document: Document) -> Iterator[str]:
    schemes = (document.get("components") or {}).get("securitySchemes") or {}
    for scheme in schemes.values():
        if scheme.get("type") == "apiKey":
            yield str(scheme.get("name", "")).lower()


def _operations(document: Document) -> Iterator[_Operation]:
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise ConfigError("paths: missing or not an object; an OpenAPI document lists its operations there.")
    for path, raw in paths.items():
        item = resolve(document, raw, f"paths.{path}")
        for method in item:
            if method in METHODS:
                body = resolve(document, item[method], f"paths.{path}.{method}")
                yield _Operation(method.upper(), str(path), item, body)


def _tool(document: Document, operation: _Operation, secrets: frozenset[str]) -> Tool:
    found = {(p.location, p.name): p for p in _parameters(document, operation, secrets)}
    for name in re.findall(r"{([^}]+)}", operation.path):
        if ("path", name) not in found:
            raise ConfigError(f"{operation.where}: the path names {{{name}}} but no path parameter describes it.")
    return Tool(
        name=tool_name(operation.method, operation.path),
        method=operation.method,
        server=_server(document, operation),
        path=operation.path,
        summary=_text(operation.body.get("summary") or operation.body.get("description")),
        parameters=tuple(sorted(found.values(), key=lambda parameter: not parameter.required)),
        response=_response(document, operation),
        effect=_effect(operation),
    )


def _effect(operation: _Operation) -> Effect | None:
    """What the document says that a call does, None where it says nothing. Raises ConfigError for another word."""
    marked = operation.body.get("x-effect")
    if marked == "read":
        return "read"
    if marked == "write":
        return "write"
    if marked is not None:
        raise ConfigError(f"{operation.where}: x-effect is {marked!r}; allowed: read, write.")
    return None


def _server(document: Document, operation: _Operation) -> str:
    servers = operation.body.get("servers") or operation.item.get("servers") or document.get("servers") or []
    url = servers[0].get("url", "") if servers and isinstance(servers[0], Mapping) else ""
    for name, variable in (servers[0].get("variables") or {}).items() if url else ():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    if not re.match(r"https?://", url.strip()):
        raise ConfigError(f"{operation.where}: server {url!r} is not an absolute http(s) URL; add it under servers.")
    return str(url).strip().rstrip("/")


def _parameters(document: Document, operation: _Operation, secrets: frozenset[str]) -> Iterator[Parameter]:
    """Parameters of the path item, then of the operation, which override them, then of the body."""
    for holder in (operation.item, operation.body):
        for index, raw in enumerate(holder.get("parameters") or ()):
            entry = resolve(document, raw, f"{operation.where} parameters[{index}]")
            name, location = entry.get("name"), entry.get("in")
            if not isinstance(name, str) or location not in ("path", "query", "header", "cookie"):
                place = f"{operation.where} parameters[{index}]"
                raise ConfigError(f"{place}: name {name!r} in {location!r} is no parameter.")
            if location == "header" and name.lower() in HEADERS_OF_THEIR_OWN:
                continue
            if location in ("path", "query", "header") and not _secret(name, secrets):
                yield _parameter(document, operation, location, name, entry)
    yield from _body(document, operation, secrets)


def _parameter(
    document: Document,
    operation: _Operation,
    location: Literal["path", "query", "header"],
    name: str,
    entry: Mapping[str, Any],
) -> Parameter:
    where = f"{operation.where} parameter {name}"
    schema = resolve(document, entry.get("schema") or {}, where)
    required = location == "path" or bool(entry.get("required"))
    return _described(document, name, location, schema, required, entry.get("description"), where)


def _body(document: Document, operation: _Operation, secrets: frozenset[str]) -> Iterator[Parameter]:
    where = f"{operation.where} requestBody"
    content = resolve(document, operation.body.get("requestBody") or {}, where).get("content") or {}
    schema = resolve(document, _json(content).get("schema") or {}, where)
    for part in (*(resolve(document, raw, where) for raw in schema.get("allOf") or ()), schema):
        required = part.get("required") or ()
        for name, raw in (part.get("properties") or {}).items():
            if not _secret(name, secrets):
                property_ = resolve(document, raw, f"{where} {name}")
                yield _described(document, name, "body", property_, name in required, None, f"{where} {name}")


def _described(
    document: Document,
    name: str,
    location: Literal["path", "query", "header", "body"],
    schema: Mapping[str, Any],
    required: bool,
    description: Any,
    where: str,
) -> Parameter:
    default: JSON = schema.get("default")
    return Parameter(
        name=name,
        location=location,
        type=type_name(document, schema, where),
        required=required,
        description=_text(description or schema.get("description")),
        default=None if isinstance(default, str) and SECRET_TEXT.search(default) else default,
        choices=tuple(str(choice) for choice in schema.get("enum") or () if choice is not None),
    )


def _response(document: Document, operation: _Operation) -> JSON:
    responses = operation.body.get("responses") or {}
    for status in sorted((code for code in map(str, responses) if code.startswith("2")), key=str):
        where = f"{operation.where} response {status}"
        raw = responses.get(status) or responses.get(int(status) if status.isdigit() else status)
        schema = _json(resolve(document, raw, where).get("content") or {}).get("schema")
        if schema is not None:
            return shape(document, schema, where)
    return None


def _json(content: Mapping[str, Any]) -> Mapping[str, Any]:
    for kind, entry in content.items():
        if re.fullmatch(r"application/(.+\+)?json(;.*)?|\*/\*", kind) and isinstance(entry, Mapping):
            return entry
    return {}


def _secret(name: str, secrets: frozenset[str]) -> bool:
    return name.lower() in secrets or SECRET.search(re.sub(r"[-_. ]", "", name.lower())) is not None


def _text(raw: Any) -> str:
    """First paragraph of a description on one line, without anything that looks like a key."""
    line = " ".join(str(raw or "").strip().split("\n\n")[0].split())
    return SECRET_TEXT.sub("…", line)[:TEXT_LIMIT].rstrip()
