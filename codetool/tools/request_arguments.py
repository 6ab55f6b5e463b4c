"""Arguments of a request: its query string and its body as names and values.

Limits: the type of a body is told from its text, as requests arrive without headers. A multipart body stays one opaque
text, whose random boundary keeps two such requests apart.
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
_MAX_DEPTH = (
    100  # levels of JSON that are read; a deeper text stays a text, so that no walk over it overflows the stack
)


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its text, and what the text says as JSON or as a form's pairs."""

    text: str
    type: Literal["json", "form", "text"]
    content: JSON = None

    @property
    def arguments(self) -> dict[str, JSON]:
        """The members of a JSON object or of a form; anything else as the one argument `body`."""
        if self.type == "form":
            return group_by_name(self.content)
        if self.type == "json":
            return self.content if isinstance(self.content, dict) else {"body": self.content}
        return {"body": self.text}

    def drop_secrets(self, names: frozenset[str], exempt: frozenset[str] = frozenset()) -> Body:
        """This body, written anew if there was a secret in it."""
        if self.type == "form":
            pairs = drop_secret_pairs(self.content, names, exempt)
            return self if pairs == self.content else Body(urlencode(pairs), "form", pairs)
        content = drop_secrets(self.content, names, exempt)
        return self if content == self.content else Body(json.dumps(content), self.type, content)


def parse_body(text: str | None) -> Body | None:
    """The body of this text, None where it is blank."""
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
    """Names and values of a query string in order, decoded, blank values kept."""
    return parse_qsl(query, keep_blank_values=True)


def drop_secret_pairs(pairs: Pairs, names: frozenset[str], exempt: frozenset[str] = frozenset()) -> Pairs:
    """The pairs whose name is no secret."""
    return [(name, value) for name, value in pairs if not is_secret(name, names, exempt)]


def group_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, JSON]:
    """Arguments of pairs: a repeated name, or one written `name[]`, becomes a list under the bare name."""
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
    """All arguments of a request. A name that is taken is kept as `query.name`, `body.name` or `header.name`."""
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
