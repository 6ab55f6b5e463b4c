"""Redirect the `requests` library of generated code: each request becomes a message to the host.

Replacing `HTTPAdapter.send` also covers sessions with custom adapters. Headers are passed on; the host decides which of
them a service gets, and adds the secrets. There is no other access to the network: sockets cannot be created.
"""

from __future__ import annotations

import datetime
import http.client
import io
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

Headers = list[tuple[str, str]]
MAX_HEADERS = 100  # of one request; the host rejects more
CallHost = Callable[[str, str, str | None, Headers], tuple[int, str]]
"""(method, absolute URL, body, headers) → (HTTP status, body)."""


def install(call_host: CallHost) -> None:
    """Answer every request made with `requests` in this process and its forks by calling `call_host`."""

    def send(
        adapter: HTTPAdapter, request: requests.PreparedRequest, *_arguments: object, **_options: object
    ) -> requests.Response:
        status, body = call_host(
            request.method or "GET", request.url or "", _encode_body(request.body), _select_headers(request.headers)
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
    return [(name, value) for name, value in pairs if own.get(name) != value][:MAX_HEADERS]


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
