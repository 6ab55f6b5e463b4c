"""Which headers of a program's request go to a service: those that its document declares, Accept and Content-Type.

A header that carries a secret is never taken from a program: the broker adds the keys itself. Declared headers are
arguments of the call, for they may determine the answer (a tenant, a version); so is an Accept that asks for something
else than JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codetool.credentials.secret_names import normalize_name
from codetool.tools.secrets import is_secret
from codetool.types import JSON, Parameter, Tool

Headers = tuple[tuple[str, str], ...]

ALWAYS_ALLOWED = ("Accept", "Content-Type")
"""Headers that every service understands; OpenAPI documents do not declare them as parameters."""
NEVER_SENT = frozenset({"connection", "contentlength", "host", "te", "trailer", "transferencoding", "upgrade"})
"""Headers of the connection and not of the call, lower case, letters only."""

_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]{1,4096}")
_JSON_OR_ANY = re.compile(r"\*/\*|application/(\*|json|[\w.+-]+\+json)", re.IGNORECASE)


def select_headers(headers: Headers, tool: Tool | None, secret_names: frozenset[str] = frozenset()) -> Headers:
    """The headers that the service is sent, each name once and spelled as its document spells it.

    `secret_names` adds header names that carry a key of ours at this host, spelled as in `SECRET_ARGUMENTS`. A
    value that no header can carry (line breaks, characters beyond Latin-1, more than 4,096 of them) is left out.
    """
    declared = [parameter.name for parameter in _list_declared(tool)]
    spellings = {name.lower(): name for name in (*ALWAYS_ALLOWED, *declared)}
    chosen: dict[str, str] = {}
    for name, value in headers:
        spelling = spellings.get(name.strip().lower())
        if spelling is None or is_secret(spelling, secret_names) or normalize_name(spelling) in NEVER_SENT:
            continue
        if _VALUE.fullmatch(value.strip()):
            chosen[spelling] = value.strip()
    return tuple(chosen.items())


def extract_header_arguments(headers: Headers, tool: Tool | None) -> dict[str, JSON]:
    """The selected headers that may determine the answer, as arguments of the call."""
    declared = {parameter.name for parameter in _list_declared(tool)}
    arguments: dict[str, JSON] = {name: value for name, value in headers if name in declared - set(ALWAYS_ALLOWED)}
    for name, value in headers:
        if name == "Accept" and not _JSON_OR_ANY.search(value):
            arguments[name] = value
    return arguments


def _list_declared(tool: Tool | None) -> Sequence[Parameter]:
    return [parameter for parameter in tool.parameters if parameter.location == "header"] if tool else []
