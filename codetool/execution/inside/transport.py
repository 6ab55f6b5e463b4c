"""Redirect the `requests` library of generated code: each request becomes a message to the host.

Replacing `HTTPAdapter.send` also covers sessions with custom adapters. Headers are passed on; the host decides which of
them a service gets, and adds the secrets. There is no other access to the network: sockets cannot be created.
"""

from __future__ import annotations

import datetime
import http.client
import io
import json
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

Headers = list[tuple[str, str]]
MAX_HEADERS = 100  # of one request; the host rejects more
MAX_METHOD_CHARS = 20
MAX_URL_CHARS = 8_000
MAX_BODY_BYTES = 64_000
MAX_HEADER_BYTES = 16_000
"""Limits of a request (`codetool.tools.request_limits`). The host refuses a request above them, so the rest of it is
not passed on; it is replaced by one character more than allowed."""
_OVERSIZED_HEADER = ("x", "x" * MAX_HEADER_BYTES)
CallHost = Callable[[str, str, str | None, Headers], tuple[int, str]]
"""(method, absolute URL, body, headers) → (HTTP status, body)."""


def install(call_host: CallHost) -> None:
    """Answer every request made with `requests` in this process and its forks by calling `call_host`."""

    def send(
        adapter: HTTPAdapter, request: requests.PreparedRequest, *_arguments: object, **_options: object
    ) -> requests.Response:
        status, body = call_host(
            _limit_text(request.method or "GET", MAX_METHOD_CHARS),
            _limit_text(request.url or "", MAX_URL_CHARS),
            _limit_text(_encode_body(request.body), MAX_BODY_BYTES),
            _select_headers(request.headers),
        )
        return _build_response(adapter, request, status, body)

    HTTPAdapter.send = send  # type: ignore[method-assign,assignment]


def _encode_body(body: Any) -> str | None:
    if body is None or isinstance(body, str):
        return body
    if hasattr(body, "read"):
        body = body.read()
    elif not isinstance(body, (bytes, bytearray)):
        body = b"".join(part.encode() if isinstance(part, str) else part for part in body)
    return body if isinstance(body, str) else bytes(body).decode(errors="replace")


def _select_headers(headers: Any) -> Headers:
    """Names and values as text, without the library's default headers."""
    own = requests.utils.default_headers()
    pairs = ((_decode_text(name), _decode_text(value)) for name, value in (headers or {}).items() if value is not None)
    selected = [(name, value) for name, value in pairs if own.get(name) != value][:MAX_HEADERS]
    return selected if sum(len(json.dumps(pair)) for pair in selected) <= MAX_HEADER_BYTES else [_OVERSIZED_HEADER]


def _limit_text(text: Any, limit: int) -> Any:
    """The text if its UTF-8 is within the limit and its JSON not much longer, else a text just above the limit."""
    if not isinstance(text, str) or len(text) <= limit // 12:
        return text
    fits = len(text) <= limit and len(text.encode(errors="replace")) <= limit
    fits = fits and len(json.dumps(text, ensure_ascii=False)) <= 3 * limit  # many escapes would exceed a message
    return text if fits else f"{text[:200].encode('ascii', 'replace').decode():x<{limit + 1}}"


def _decode_text(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray)) else str(value)


def _build_response(
    adapter: HTTPAdapter, request: requests.PreparedRequest, status: int, body: str
) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    response.reason = http.client.responses.get(status, "")
    response.headers = CaseInsensitiveDict({"content-type": "application/json"})
    response.encoding = "utf-8"
    response.url = request.url or ""
    response.request = request
    response.elapsed = datetime.timedelta(0)
    content = body.encode(errors="replace")
    response.raw = io.BytesIO(content)
    response._content = content
    response._content_consumed = True  # type: ignore[attr-defined]
    response.connection = adapter
    return response
