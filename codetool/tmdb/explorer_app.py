"""The replica as a web site: the API below `/3` as at the service, its OpenAPI document, and a page to try it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from codetool.tmdb.app import SERVER, create_app
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.openapi_document import build_document
from codetool.tools.explorer_page import load_explorer_page

BASE_PATH = urlsplit(SERVER).path


def create_site(catalogue: Catalog, *, require_key: bool, key: str) -> Starlette:
    """The site; `key`, where it is not empty, is the only one that `require_key` accepts. Any origin may read it."""
    described = _build_document(require_key)

    async def explore(_: Request) -> Response:
        return HTMLResponse(load_explorer_page())

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    async def lead(_: Request) -> Response:
        return RedirectResponse("/docs")

    return Starlette(
        routes=[
            Route("/", lead),
            Route("/docs", explore),
            Route("/openapi.json", openapi),
            Mount(BASE_PATH, create_app(catalogue, require_key=require_key, key=key)),
        ],
        middleware=[Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"], allow_headers=["*"])],
    )


def _build_document(require_key: bool) -> Mapping[str, Any]:
    """The document with this server's address, and with the two ways to give a key where one is wanted."""
    found = build_document() | {"servers": [{"url": BASE_PATH}]}
    if require_key:
        schemes = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "api_key": {"type": "apiKey", "in": "query", "name": "api_key"},
        }
        found["components"]["securitySchemes"] = schemes
        found["security"] = [{name: []} for name in schemes]
    return found
