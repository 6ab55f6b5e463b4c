"""How generated code reaches tools: every `requests` call becomes a frame to the host and its answer a Response.

Replacing `HTTPAdapter.send` also catches sessions on which code mounts adapters of its own. Headers go along; the host
decides which of them a service gets, and adds the secrets itself. Other ways to the network do not exist; sockets
cannot be made.
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
MAX_HEADERS = 100  # of one request; the host takes no more
CallHost = Callable[[str, str, str | None, Headers], tuple[int, str]]
"""(method, absolute URL, body, headers) → (HTTP status, body)."""


def install(ask: CallHost) -> None:
    """Let every request made with `requests` in this process, and in its forks, be answered by `ask`."""

    def send(
        adapter: HTTPAdapter, request: requests.PreparedRequest, *_arguments: object, **_options: object
    ) -> requests.Response:
        status, body = ask(
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
    """Names and values as text, without what the library sets of its own accord."""
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
