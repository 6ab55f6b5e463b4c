"""Parse the error that a chat server reports, in the formats of all common servers.

Supported are OpenAI, Azure, vLLM, llama.cpp, TGI, Anthropic, OpenRouter, Mistral, Google, FastAPI and Ollama:
`{"error": {...}}`, `{"error": "..."}`, `{"detail": [...]}`, `{"message": ...}`, a list of one of these, or plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codetool.runs.bounded_input import parse_json

MAX_ERROR_CHARS = 20_000
"""Number of characters kept of an error; servers repeat whole prompts in it."""
MAX_ERROR_BODY_CHARS = 1_000_000
"""Length above which the body of an error is not parsed."""
MAX_MESSAGE_CHARS = 300
"""Maximum length of a server's message inside an error message for the user."""

PAGE_CODE = "page"
"""Code of an error that is a page of HTML or XML and not the server's own."""

_FILTER_PATTERN = re.compile(
    r"content.{0,20}(filter|management|polic|moderation|risk)|responsible.?ai|data_inspection_failed|moderation|"
    r"flagged|safety (system|filter|polic)|blocked by .{0,40}(filter|polic|guardrail)|guardrail|"
    r"violat\w+ .{0,40}polic|prohibited_content",
    re.IGNORECASE | re.DOTALL,
)
_PAYMENT_PATTERN = re.compile(
    r"insufficient[ _](credit|quota|balance|fund)|(exceeded|out of) your (current )?(quota|credit)|"
    r"billing|payment required|requires? more credits|credit balance|no credits",
    re.IGNORECASE,
)
_STATUS_BY_TYPE = {
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "overloaded_error": 503, "overloaded": 503, "timeout": 504,
    "api_error": 500, "server_error": 500, "internal_server_error": 500, "authentication_error": 401,
    "invalid_api_key": 401, "permission_error": 403, "not_found_error": 404, "model_not_found": 404,
    "billing_error": 402, "insufficient_quota": 402, "invalid_request_error": 400, "content_filter": 400,
}  # fmt: skip
"""HTTP status for the type or code of an error inside a success."""


@dataclass(frozen=True, slots=True)
class ServerError:
    """Parsed error of a server."""

    status: int
    """HTTP status, or the status that an error inside a success names; 0 if unknown."""
    message: str = ""
    """The server's complete message."""
    param: str = ""
    """The refused field of the request, such as `stop`, if the server names one."""
    code: str = ""
    """The error's code and type."""
    numbers: Mapping[str, int] | None = None
    """Numbers in further fields of the error, such as llama.cpp's `n_prompt_tokens` and `n_ctx`."""

    def __post_init__(self) -> None:
        """Cut the texts, which patterns are searched in."""
        for name in ("message", "param", "code"):
            object.__setattr__(self, name, getattr(self, name)[:MAX_ERROR_CHARS])

    @property
    def short_message(self) -> str:
        """The message in one line, cut to `MAX_MESSAGE_CHARS`."""
        return " ".join(self.message.split())[:MAX_MESSAGE_CHARS]

    @property
    def is_filtered(self) -> bool:
        """Whether a content filter refuses this prompt; others may be answered."""
        if self.code == PAGE_CODE:
            return False  # of a gateway, which has its own policies and filters
        return self.status in {400, 403, 422, 451} and _FILTER_PATTERN.search(f"{self.code} {self.message}") is not None

    @property
    def needs_payment(self) -> bool:
        """Whether the account has no credit, so that a retry cannot help."""
        if self.status == 402 or "insufficient_quota" in self.code:
            return True
        return self.status in {0, 403, 429} and _PAYMENT_PATTERN.search(self.message) is not None

    @property
    def is_transient(self) -> bool:
        """Whether a retry may succeed."""
        return not self.needs_payment and (self.status in {0, 408, 409, 425, 429} or self.status >= 500)


def parse_error_body(status: int, text: str) -> ServerError:
    """Parse the error in the body of a response with this status."""
    try:
        content = parse_json(text) if len(text) <= MAX_ERROR_BODY_CHARS else None
    except ValueError:
        content = None
    if content is None:
        code = PAGE_CODE if text[:MAX_ERROR_CHARS].lstrip().startswith("<") else ""
        return ServerError(status, _strip_markup(text[:MAX_ERROR_CHARS]), code=code)
    return parse_error(content, status)


def parse_error(content: Any, status: int = 0) -> ServerError:
    """Parse the error in decoded JSON. Without an error status, the status is read from the error itself."""
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, Mapping):
        return ServerError(status, str(content or ""))
    inner = content.get("error") or content.get("errors") or content.get("detail") or content
    if isinstance(inner, list) and inner and "detail" not in content:
        inner = inner[0]
    if isinstance(inner, Mapping) and isinstance(inner.get("message"), Mapping | list):
        inner = inner["message"]  # Mistral's: {"message": {"detail": [...]}}
        inner = inner.get("detail", inner) if isinstance(inner, Mapping) else inner
    if isinstance(inner, list):
        return _parse_details(inner, status)
    if not isinstance(inner, Mapping):
        return ServerError(status, str(inner), code=str(content.get("error_type") or content.get("code") or ""))
    code = " ".join(str(inner[name]) for name in ("code", "type", "status") if inner.get(name))
    numbers = {name: value for name, value in inner.items() if isinstance(value, int) and name.startswith("n_")}
    return ServerError(
        _get_status(inner, status), _get_message(inner), _get_field_name(inner.get("param")), code, numbers or None
    )


def _get_message(error: Mapping[str, Any]) -> str:
    message = str(error.get("message") or error.get("msg") or error.get("error") or json.dumps(error))
    raw = (error.get("metadata") or {}).get("raw") if isinstance(error.get("metadata"), Mapping) else None
    return f"{message} {raw}" if raw else message  # OpenRouter's: the message of the provider behind it


def _get_status(error: Mapping[str, Any], status: int) -> int:
    if status >= 400:
        return status
    for name in ("code", "status", "status_code", "type"):
        value = error.get(name)
        if re.fullmatch("[0-9]{1,3}", str(value)):
            return int(str(value))
        if isinstance(value, str) and value.lower() in _STATUS_BY_TYPE:
            return _STATUS_BY_TYPE[value.lower()]
    return 0


def _parse_details(details: list[Any], status: int) -> ServerError:
    """Parse a validator's list of errors (FastAPI, Pydantic): `loc` names the field, `msg` is the message."""
    errors = [detail for detail in details if isinstance(detail, Mapping)]
    if not errors:
        return ServerError(status, "; ".join(map(str, details)))
    messages = [
        f"{_get_field_name(detail.get('loc'))}: {detail.get('msg', detail.get('message', ''))}" for detail in errors
    ]
    return ServerError(
        status, "; ".join(messages), _get_field_name(errors[0].get("loc")), str(errors[0].get("type") or "")
    )


def _get_field_name(location: Any) -> str:
    """Return the field that is named by `stop`, `body.stop`, `stop[0]`, `$.stop` or `["body", "stop"]`."""
    parts = list(location) if isinstance(location, list | tuple) else re.split(r"[.\[\]/]+", str(location or ""))
    names = [str(part) for part in parts if isinstance(part, str) and part not in {"", "$", "body", "request", "query"}]
    return names[0].strip("'\"`") if names else ""


def _strip_markup(text: str) -> str:
    """Return the text of an HTML page; plain text unchanged."""
    return re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", text).strip() if "<" in text else text.strip()
