"""Convert OpenAPI documents to `Tool`s, which prompts show and the broker matches.

OpenAPI 3.0 and 3.1 are supported; Swagger 2 is converted first. Path, query and header parameters and request bodies
become parameters. Cookies, security schemes, and every parameter, default or text that contains a secret are left out,
since the broker adds keys outside the sandbox. Every path variable is a parameter. `x-effect: read` or `x-effect:
write` of an operation overrides what its method implies.

An operation that cannot be parsed is skipped with a warning that names it, unless no operation can be parsed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import yaml

from codetool.benchmarks.json_schema import Document, get_list, resolve_reference, summarize
from codetool.benchmarks.openapi_bodies import json_content
from codetool.benchmarks.openapi_parameters import Operation, extract_first_paragraph, iterate_parameters
from codetool.benchmarks.swagger import convert_to_openapi_3
from codetool.errors import ConfigError
from codetool.runs.bounded_input import parse_json, parse_yaml
from codetool.types import JSON, Effect, Tool

log = logging.getLogger(__name__)

MAX_OPERATIONS = 20_000
"""Maximum number of operations of a document; the largest published ones have some thousand."""
MAX_VALUES = 1_000_000
"""Maximum number of values in a document, each of which takes some 100 bytes of memory."""
MAX_PATH_CHARS = 1_000
"""Maximum length of an operation's path."""
MAX_ERROR_CHARS = 300
MAX_WARNINGS = 20
"""Maximum number of warnings about one document."""
DOCUMENT_MODULES = ("json_schema", "openapi", "openapi_bodies", "openapi_parameters")
"""Modules that log warnings about a document."""
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class _Loader(yaml.SafeLoader):
    """YAML loader with JSON's types: a date stays a string."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse_document(text: str) -> Mapping[str, Any]:
    """Parse a JSON or YAML text. Raises ConfigError if it is neither or is no object."""
    try:
        is_json = text.lstrip().startswith("{")
        document = parse_json(text, max_values=MAX_VALUES) if is_json else parse_yaml(text, _Loader, MAX_VALUES)
    except ValueError as error:
        raise ConfigError(f"The OpenAPI document cannot be read as JSON or YAML: {str(error)[:300]}.") from error
    if not isinstance(document, Mapping):
        raise ConfigError(f"The OpenAPI document is {str(document)[:80]!r} and not an object.")
    return document


def parse_tools(document: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return one tool per operation, in document order. An operation that cannot be parsed is skipped with a warning.

    Raises:
        ConfigError: The document is malformed, or no operation can be parsed; the message names the position.
    """
    with _limit_warnings():
        document = _ensure_version_3(document)
        secrets, tools, errors = frozenset(_iterate_api_key_names(document)), list[Tool](), list[str]()
        for path, method, raw in _iterate_operations(document, errors):
            try:
                item = resolve_reference(document, raw, f"paths.{path}")
                body = resolve_reference(document, item[method], f"paths.{path}.{method}")
                tools.append(_parse_tool(document, Operation(method.upper(), path, item, body), secrets))
            except ConfigError as error:
                errors.append(str(error)[:MAX_ERROR_CHARS])
            if len(tools) + len(errors) > MAX_OPERATIONS:
                raise ConfigError(f"The OpenAPI document describes more than {MAX_OPERATIONS:,} operations; split it.")
        if errors and not tools:
            raise ConfigError(" ".join(errors[:3]))
        for message in errors:
            log.warning("An operation of the OpenAPI document is skipped. %s", message)
    return tuple(_make_names_unique(tools))


@contextmanager
def _limit_warnings() -> Iterator[None]:
    """Log at most `MAX_WARNINGS` warnings about a document, and the number of further ones."""
    count = 0

    def is_within_limit(record: logging.LogRecord) -> bool:
        nonlocal count
        count += 1
        return count <= MAX_WARNINGS

    loggers = [logging.getLogger(f"{__package__}.{name}") for name in DOCUMENT_MODULES]
    for logger in loggers:
        logger.addFilter(is_within_limit)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_within_limit)
    if count > MAX_WARNINGS:
        log.warning("%d further warnings about the OpenAPI document are left out.", count - MAX_WARNINGS)


def tool_name(method: str, path: str) -> str:
    """Return a tool's name in the reference data's notation: `GET /movie/{movie_id}` → `GET_movie_movie_id`."""
    return f"{method}_" + re.sub(r"[^A-Za-z0-9]+", "_", path).strip("_")


def _ensure_version_3(document: Document) -> Document:
    if str(document.get("swagger", "")).startswith("2"):
        return convert_to_openapi_3(document)
    version = document.get("openapi", document.get("swagger", document.get("swaggerVersion")))
    if not str(document.get("openapi", "")).startswith("3"):
        raise ConfigError(
            f"openapi: {version!r} is not version 3; give an OpenAPI 3 or Swagger 2 document, or convert it, for "
            "example at https://converter.swagger.io."
        )
    return document


def _iterate_api_key_names(document: Document) -> Iterator[str]:
    components = document.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    for scheme in schemes.values() if isinstance(schemes, Mapping) else ():
        if isinstance(scheme, Mapping) and scheme.get("type") == "apiKey":
            yield str(scheme.get("name", "")).lower()


def _iterate_operations(document: Document, errors: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield path, method and path item of each operation; error messages are added to `broken`."""
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise ConfigError("paths: missing or not an object; an OpenAPI document lists its operations there.")
    for path, raw in paths.items():
        if str(path).startswith("x-"):
            continue
        try:
            item = resolve_reference(document, raw, f"paths.{path}")
        except ConfigError as error:
            errors.append(str(error)[:MAX_ERROR_CHARS])
            continue
        if len(str(path)) > MAX_PATH_CHARS:
            errors.append(f"paths.{str(path)[:80]}…: a path has at most {MAX_PATH_CHARS:,} characters.")
            continue
        if not str(path).startswith("/"):
            errors.append(f"paths.{path}: a path begins with a slash."[:MAX_ERROR_CHARS])
            continue
        yield from ((str(path), method, raw) for method in item if method in METHODS)


def _make_names_unique(tools: list[Tool]) -> Iterator[Tool]:
    """Yield the tools with unique names: `GET /a-b` and `GET /a_b` would have the same one."""
    name_counts: dict[str, int] = {}
    for tool in tools:
        name_counts[tool.name] = name_counts.get(tool.name, 0) + 1
        yield tool if name_counts[tool.name] == 1 else replace(tool, name=f"{tool.name}_{name_counts[tool.name]}")


def _parse_tool(document: Document, operation: Operation, secrets: frozenset[str]) -> Tool:
    by_location = {(p.location, p.name): p for p in iterate_parameters(document, operation, secrets)}
    variables = re.findall(r"{([^}]+)}", operation.path)
    for name in variables:
        if ("path", name) not in by_location:
            raise ConfigError(f"{operation.where}: the path names {{{name}}} but no path parameter describes it.")
    for location, name in [key for key in by_location if key[0] == "path" and key[1] not in variables]:
        log.warning("%s: the path has no {%s}; this parameter is left out.", operation.where, name)
        del by_location[location, name]
    return Tool(
        name=tool_name(operation.method, operation.path),
        method=operation.method,
        server=_select_server(document, operation),
        path=operation.path,
        summary=("Deprecated. " if operation.body.get("deprecated") is True else "")
        + extract_first_paragraph(operation.body.get("summary") or operation.body.get("description")),
        parameters=tuple(sorted(by_location.values(), key=lambda parameter: not parameter.required)),
        response=_summarize_response(document, operation),
        effect=_parse_effect(operation),
    )


def _parse_effect(operation: Operation) -> Effect | None:
    """Return the operation's `x-effect`; None if it has none. Raises ConfigError for any other value."""
    effect = operation.body.get("x-effect")
    if effect == "read":
        return "read"
    if effect == "write":
        return "write"
    if effect is not None:
        raise ConfigError(f"{operation.where}: x-effect is {effect!r}; allowed: read, write.")
    return None


def _select_server(document: Document, operation: Operation) -> str:
    """Return the first absolute server URL of the operation, path or document, without user name and password."""
    servers = next(
        (servers for holder in (operation.body, operation.item, document) if (servers := get_list(holder, "servers"))),
        [],
    )
    urls = [_fill_server_variables(server) for server in servers if isinstance(server, Mapping)]
    for url in urls:
        if re.fullmatch(r"https?://[^/{}]+[^{}]*", url):
            return re.sub(r"(?<=//)[^/]*@", "", url).rstrip("/")
    first_url = urls[0][:200] if urls else ""
    raise ConfigError(f"{operation.where}: server {first_url!r} is not an absolute http(s) URL; add it under servers.")


def _fill_server_variables(server: Mapping[str, Any]) -> str:
    url, variables = str(server.get("url") or "").strip()[: 2 * MAX_PATH_CHARS], server.get("variables")
    for name, variable in variables.items() if isinstance(variables, Mapping) else ():
        if isinstance(variable, Mapping):
            default = variable.get("default", next(iter(get_list(variable, "enum")), f"{{{name}}}"))
            url = url.replace(f"{{{name}}}", str(default)[:MAX_PATH_CHARS])[: 2 * MAX_PATH_CHARS]
    return f"https:{url}" if url.startswith("//") else url


def _summarize_response(document: Document, operation: Operation) -> JSON:
    """Summarize the first successful JSON response; None if the document describes none."""
    responses = operation.body.get("responses")
    by_status = {str(status): raw for status, raw in responses.items()} if isinstance(responses, Mapping) else {}
    for status in sorted(status for status in by_status if status.startswith("2")):
        where = f"{operation.where} response {status}"
        try:
            schema = json_content(resolve_reference(document, by_status[status], where).get("content")).get("schema")
            if schema is not None:
                return summarize(document, schema, where)
        except ConfigError as error:
            log.warning("%s The tool's answer is not described.", error)
    return None
