"""Web app of the replica: the API below `/3`, its OpenAPI document, and a page to try the operations."""

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


def create_site(catalog: Catalog, *, require_key: bool, key: str) -> Starlette:
    """Create the web app. With `require_key` it accepts only `key`, or any key if `key` is empty. CORS is open."""
    document = _build_document(require_key)

    async def show_explorer(_: Request) -> Response:
        return HTMLResponse(load_explorer_page())

    async def show_document(_: Request) -> Response:
        return JSONResponse(document)

    async def redirect_to_explorer(_: Request) -> Response:
        return RedirectResponse("/docs")

    return Starlette(
        routes=[
            Route("/", redirect_to_explorer),
            Route("/docs", show_explorer),
            Route("/openapi.json", show_document),
            Mount(BASE_PATH, create_app(catalog, require_key=require_key, key=key)),
        ],
        middleware=[Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["GET"], allow_headers=["*"])],
    )


def _build_document(require_key: bool) -> Mapping[str, Any]:
    """Return the OpenAPI document with this server's address and, with `require_key`, its two security schemes."""
    document = build_document() | {"servers": [{"url": BASE_PATH}]}
    if require_key:
        schemes = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "api_key": {"type": "apiKey", "in": "query", "name": "api_key"},
        }
        document["components"]["securitySchemes"] = schemes
        document["security"] = [{name: []} for name in schemes]
    return document
