"""Select the headers of a program's request that are sent on: declared headers, Accept and Content-Type.

Headers that carry a secret are dropped, because the broker adds the keys itself. Declared headers become arguments of
the call, because they may determine the answer (a tenant, a version); so does an Accept header for anything but JSON.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codetool.credentials.secret_names import normalize_name
from codetool.tools.secrets import is_secret
from codetool.types import JSON, Parameter, Tool

Headers = tuple[tuple[str, str], ...]

ALWAYS_ALLOWED = ("Accept", "Content-Type")
"""Headers that every service understands and OpenAPI documents do not declare as parameters."""
NEVER_SENT = frozenset({"connection", "contentlength", "host", "te", "trailer", "transferencoding", "upgrade"})
"""Headers that belong to the connection, not to the call; lower case, letters only."""

_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]{1,4096}")
_JSON_OR_ANY = re.compile(r"\*/\*|application/(\*|json|[\w.+-]+\+json)", re.IGNORECASE)


def select_headers(headers: Headers, tool: Tool | None, secret_names: frozenset[str] = frozenset()) -> Headers:
    """The headers to send, each name once in the spelling of the tool's document.

    `secret_names` lists further header names that carry a key at this host, normalized like `SECRET_ARGUMENTS`.
    Headers with an invalid value (line breaks, characters beyond Latin-1, more than 4,096 characters) are left out.
    """
    declared = [parameter.name for parameter in _list_declared(tool)]
    spellings = {name.lower(): name for name in (*ALWAYS_ALLOWED, *declared)}
    selected: dict[str, str] = {}
    for name, value in headers:
        spelling = spellings.get(name.strip().lower())
        if spelling is None or is_secret(spelling, secret_names) or normalize_name(spelling) in NEVER_SENT:
            continue
        if _VALUE.fullmatch(value.strip()):
            selected[spelling] = value.strip()
    return tuple(selected.items())


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
