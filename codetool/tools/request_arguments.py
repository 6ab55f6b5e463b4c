"""Parse the arguments of a request from its query string and its body.

Limits: the type of a body is inferred from its text. A multipart body stays one opaque text, whose random boundary
makes two equal requests differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from codetool.tools.secrets import drop_secrets, is_secret
from codetool.types import JSON

Pairs = list[tuple[str, str]]

_FORM = re.compile(r"[\w.%+\[\]~-]+=[^\s&=]*(?:&[\w.%+\[\]~-]+=[^\s&=]*)*")
_MAX_DEPTH = 100  # levels of JSON that are parsed; deeper JSON stays text, so that recursion over it cannot overflow


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its text, and its content parsed as JSON or as the pairs of a form."""

    text: str
    type: Literal["json", "form", "text"]
    content: JSON = None

    @property
    def arguments(self) -> dict[str, JSON]:
        """The members of a JSON object or the fields of a form; any other body is the single argument `body`."""
        if self.type == "form":
            return group_by_name(self.content)
        if self.type == "json":
            return self.content if isinstance(self.content, dict) else {"body": self.content}
        return {"body": self.text}

    def drop_secrets(self, names: frozenset[str], exempt: frozenset[str] = frozenset()) -> Body:
        """This body without its secrets; the text is written again only if there were any."""
        if self.type == "form":
            pairs = drop_secret_pairs(self.content, names, exempt)
            return self if pairs == self.content else Body(urlencode(pairs), "form", pairs)
        content = drop_secrets(self.content, names, exempt)
        return self if content == self.content else Body(json.dumps(content), self.type, content)


def parse_body(text: str | None) -> Body | None:
    """Parse the text of a body; None if it is blank."""
    if text is None or not text.strip():
        return None
    if _FORM.fullmatch(text.strip()):
        return Body(text, "form", parse_query(text.strip()))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return Body(text, "text")
    return Body(text, "text") if _is_deep(content) else Body(text, "json", content)


def parse_query(query: str) -> Pairs:
    """The decoded names and values of a query string, in order and including blank values."""
    return parse_qsl(query, keep_blank_values=True)


def drop_secret_pairs(pairs: Pairs, names: frozenset[str], exempt: frozenset[str] = frozenset()) -> Pairs:
    """The pairs whose name is not a secret."""
    return [(name, value) for name, value in pairs if not is_secret(name, names, exempt)]


def group_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, JSON]:
    """Pairs as arguments; a repeated name, or one written `name[]`, becomes a list under the bare name."""
    values: dict[str, list[str]] = {}
    arrays = set()
    for written, value in pairs:
        name = written.removesuffix("[]")
        values.setdefault(name, []).append(value)
        if name != written or len(values[name]) > 1:
            arrays.add(name)
    return {name: items if name in arrays else items[0] for name, items in values.items()}


def merge_arguments(
    path: Mapping[str, JSON],
    query: Mapping[str, JSON],
    body: Mapping[str, JSON],
    headers: Mapping[str, JSON] | None = None,
) -> dict[str, JSON]:
    """All arguments of a request. A name that is taken becomes `query.name`, `body.name` or `header.name`."""
    arguments = dict(path)
    for location, values in (("query", query), ("body", body), ("header", headers or {})):
        for name, value in values.items():
            arguments[f"{location}.{name}" if name in arguments else name] = value
    return arguments


def _is_deep(value: JSON) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        groups = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [child for group in groups for child in group]
        if not level:
            return False
    return True
