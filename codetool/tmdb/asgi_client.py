"""Minimal in-process client for an ASGI app: sends one request without HTTP parsing and connection pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP status and body of a response."""

    status: int
    body: str


def build_scope(method: str, url: str, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope of a request; scheme and host come from `url`, and the app is called with `path`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(_format_query(query), doseq=True).encode(),
        "headers": [(b"host", host.encode())],
        "client": None,
        "server": (host, 443),
        "state": {},
    }


async def fetch(app: FastAPI, request: dict[str, Any]) -> Response:
    """Send a request without a body to the app and return the response."""
    status = 500
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))

    await app(request, receive, send)
    return Response(status, b"".join(chunks).decode())


def _format_query(query: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
