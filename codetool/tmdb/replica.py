"""`tools.replica: tmdb`: the TMDB replica as an in-process source of answers to tool calls.

It has the operations listed in `app.ROUTERS` and the records in `data/`. A path without a route is left to the next
source. An unknown id is answered with 404, and a method other than GET with 405.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from functools import cache, cached_property
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette

from codetool.credentials.api_keys import read_key
from codetool.tmdb.app import SERVER, create_app
from codetool.tmdb.asgi_client import build_scope, fetch
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.explorer_app import create_site
from codetool.tmdb.route_table import Route, build_routes
from codetool.tmdb.store import compute_checksum, load_store
from codetool.types import ToolAnswer, ToolCall


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDBReplica:
    """Settings of the TMDB replica. The data is loaded at the first call, once per process and date."""

    KEY: ClassVar = "TMDB_API_KEY"
    ENTRY: ClassVar = "{url}/ lists the operations"

    as_of: date
    """Date that counts as today, for trending lists and release states."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """Return the replica's answer to a call; None for another host or an unknown operation."""
        match = self._route(call)
        if match is None:
            return None
        route, path = match
        started = time.perf_counter()
        query = {
            name: value for name, value in call.arguments.items() if name not in _get_path_argument_names(route, call)
        }
        response = await fetch(self._app, build_scope(call.method, call.url, path, query))
        seconds = time.perf_counter() - started
        return ToolAnswer(call, response.status, response.body, "replica", seconds)

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: object = None) -> Starlette:
        """Return the replica as a web app. A required key must equal TMDB_API_KEY if set; else any key is valid."""
        catalog = Catalog(load_store(), self.as_of)
        return create_site(
            catalog, require_key=require_key, key=read_key(self.KEY, environment, allow_spaces=True) or ""
        )

    def checksum(self) -> str:
        """Return the hex sha256 of the data files, which is part of a run's identity."""
        return compute_checksum()

    def endpoint(self, call: ToolCall) -> str | None:
        """Return the operation that answers a call, e.g. `GET /search/movie`; None if it is left to the next source."""
        match = self._route(call)
        return match[0].endpoint if match else None

    @cached_property
    def _app(self) -> FastAPI:
        return load_app(self.as_of)

    @cached_property
    def _routes(self) -> tuple[Route, ...]:
        return build_routes(self._app)

    def _route(self, call: ToolCall) -> tuple[Route, str] | None:
        request_url, server_url = urlsplit(call.url), urlsplit(SERVER)
        if request_url.hostname != server_url.hostname or not request_url.path.startswith(server_url.path + "/"):
            return None
        path = unquote(request_url.path.removeprefix(server_url.path))
        route = next((route for route in self._routes if route.matches(path)), None)
        return (route, path) if route else None


@cache
def load_app(as_of: date) -> FastAPI:
    """Return the replica's app for a date, which all replicas of this process share: the cells of a sweep, for one."""
    return create_app(Catalog(load_store(), as_of))


def _get_path_argument_names(route: Route, call: ToolCall) -> frozenset[str]:
    documented_names = (p.name for p in call.tool.parameters if p.location == "path") if call.tool else ()
    return route.names | frozenset(documented_names)
