"""Parse the parameters of an OpenAPI operation: of its path, query, headers and body, without secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codetool.benchmarks.json_schema import Document, get_list, resolve_reference, type_name
from codetool.benchmarks.openapi_bodies import parse_fields
from codetool.errors import ConfigError
from codetool.types import JSON, Parameter

log = logging.getLogger(__name__)

SECRET = re.compile(
    r"^(x|rapid|xrapid)*(api|app|access|private|subscription)key$"
    r"|^(access|api|app|auth|bearer|csrf|guest|id|oauth|refresh|request|session|security|user)*token$"
    r"|sessionid$|authorization|passw(or)?d|secret|bearer"
)
SECRET_TEXT = re.compile(r"\bbearer\s+\S+|\beyJ[\w-]{8,}[\w.-]*|\b[0-9a-f]{32,}\b", re.I)
IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI (3.0, 4.7.12) ignores among parameters; other parts of the document define them."""
MAX_PARAMETERS = 500  # maximum parameters of an operation or path item
MAX_DEFAULT_CHARS = 1_000  # a longer default is left out
MAX_DESCRIPTION_CHARS = 10_000  # characters of a description in which its first paragraph is sought
TEXT_LIMIT = 200  # maximum characters of a description
CHOICES = 60  # maximum choices of a parameter that are shown


@dataclass(frozen=True)
class Operation:
    """One method of one path, with its position for error messages."""

    method: str
    path: str
    item: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def where(self) -> str:
        return f"{self.method} {self.path}"


def iterate_parameters(document: Document, operation: Operation, secrets: frozenset[str]) -> Iterator[Parameter]:
    """Yield the parameters of the path item, of the operation, which override them, and of the body."""
    for holder in (operation.item, operation.body):
        entries = get_list(holder, "parameters")
        if len(entries) > MAX_PARAMETERS:
            raise ConfigError(f"{operation.where}: {len(entries):,} parameters; at most {MAX_PARAMETERS} are read.")
        for index, raw in enumerate(entries):
            position = f"{operation.where} parameters[{index}]"
            entry = resolve_reference(document, raw, position)
            name, location = entry.get("name"), entry.get("in")
            if not isinstance(name, str) or location not in ("path", "query", "header", "cookie"):
                raise ConfigError(f"{position}: name {name!r} in {location!r} is no parameter.")
            if len(name) > TEXT_LIMIT:
                raise ConfigError(f"{position}: the name {name[:40]!r}… has more than {TEXT_LIMIT} characters.")
            if location == "header" and name.lower() in IGNORED_HEADERS:
                continue
            secret = location != "path" and _is_secret(name, secrets)
            if location == "cookie" and entry.get("required") is True and not secret:
                log.warning("%s: the required cookie %s cannot be given; it is left out.", operation.where, name)
            elif location != "cookie" and not secret:
                yield _parse_parameter(document, operation, location, name, entry)
    where = f"{operation.where} requestBody"
    for field in parse_fields(document, operation.body.get("requestBody"), where):
        if not _is_secret(field.name, secrets):
            position = f"{where} {field.name}"
            yield _make_parameter(
                document, field.name, "body", field.schema, field.required, None, position, field.word
            )


def _parse_parameter(
    document: Document,
    operation: Operation,
    location: Literal["path", "query", "header"],
    name: str,
    entry: Mapping[str, Any],
) -> Parameter:
    where = f"{operation.where} parameter {name}"
    content = entry.get("content") if "schema" not in entry else None
    media_type, raw = None, entry.get("schema")
    if isinstance(content, Mapping) and content:
        media_type, media = next(iter(content.items()))
        raw = media.get("schema") if isinstance(media, Mapping) else None
    schema = {} if raw is None or isinstance(raw, bool) else resolve_reference(document, raw, where)
    required = location == "path" or bool(entry.get("required"))
    kind = type_name(document, schema, where)
    note = f"Written as {media_type}." if media_type else _describe_style(name, kind, entry)
    if entry.get("deprecated") is True:
        note = f"{note} Deprecated.".strip()
    return _make_parameter(document, name, location, schema, required, entry.get("description"), where, note)


def _describe_style(name: str, kind: str, entry: Mapping[str, Any]) -> str:
    """Return a note on how to write an array or object in a query; empty if its name is repeated."""
    style = str(entry.get("style") or "form")
    if entry.get("in") != "query":
        return ""
    if kind == "object" and style == "deepObject":
        return f"Written as {name}[key]=value."
    separators = {"form": "commas", "spaceDelimited": "spaces", "pipeDelimited": "|", "tabDelimited": "tabs"}
    joined = entry.get("explode", style == "form") is False
    return f"Values joined by {separators[style]}." if kind == "array" and joined and style in separators else ""


def _make_parameter(
    document: Document,
    name: str,
    location: Literal["path", "query", "header", "body"],
    schema: Mapping[str, Any],
    required: bool,
    description: Any,
    where: str,
    note: str = "",
) -> Parameter:
    default: JSON = schema.get("default")
    choices = [schema["const"]] if "const" in schema else get_list(schema, "enum")
    shown = [str(choice)[:TEXT_LIMIT] for choice in choices[: CHOICES + 1] if choice is not None]
    texts = [text for text in shown if not SECRET_TEXT.search(text)]
    return Parameter(
        name=name,
        location=location,
        type=type_name(document, schema, where),
        required=required,
        description=f"{extract_first_paragraph(description or schema.get('description'))} {note}".strip(),
        default=None if len(str(default)) > MAX_DEFAULT_CHARS or SECRET_TEXT.search(str(default)) else default,
        choices=tuple(texts if len(choices) <= CHOICES else [*texts[:CHOICES], "…"]),
    )


def _is_secret(name: str, secrets: frozenset[str]) -> bool:
    return name.lower() in secrets or SECRET.search(re.sub(r"[-_. ]", "", name.lower())) is not None


def extract_first_paragraph(raw: Any) -> str:
    """Return the first paragraph of a description on one line, without anything that looks like a key."""
    line = " ".join(str(raw or "")[:MAX_DESCRIPTION_CHARS].strip().split("\n\n")[0].split())
    return SECRET_TEXT.sub("…", line)[:TEXT_LIMIT].rstrip()
