"""`tools.replica: tmdb`: the TMDB replica as a source of answers, called in process.

It knows the operations that `app.ROUTERS` lists and the records of `data/`. A path it has no route for is left to the
next source; an id that nobody has is a real answer, 404, and so is another method than GET, 405.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from functools import cached_property
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
    """Settings of the replica; the data is read at the first call."""

    KEY: ClassVar = "TMDB_API_KEY"
    ENTRY: ClassVar = "{url}/ lists the operations"

    as_of: date
    """The day that is today for trending lists and release states."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """TMDB's answer from the replica's data, or None where another host or an operation it lacks is asked for."""
        found = self._route(call)
        if found is None:
            return None
        route, path = found
        started = time.perf_counter()
        query = {name: value for name, value in call.arguments.items() if name not in _path_argument_names(route, call)}
        response = await fetch(self._app, build_scope(call.method, call.url, path, query))
        seconds = time.perf_counter() - started
        return ToolAnswer(call, response.status, response.body, "replica", seconds)

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: object = None) -> Starlette:
        """The replica for HTTP. A demanded key has any value, or that of TMDB_API_KEY where the environment has one."""
        catalogue = Catalog(load_store(), self.as_of)
        return create_site(
            catalogue, require_key=require_key, key=read_key(self.KEY, environment, allow_spaces=True) or ""
        )

    def checksum(self) -> str:
        """Hex sha256 of the data files; part of a result's identity."""
        return compute_checksum()

    def endpoint(self, call: ToolCall) -> str | None:
        """The operation that answers a call, `GET /search/movie`; None for what is left to the next source."""
        found = self._route(call)
        return found[0].endpoint if found else None

    @cached_property
    def _app(self) -> FastAPI:
        return create_app(Catalog(load_store(), self.as_of))

    @cached_property
    def _routes(self) -> tuple[Route, ...]:
        return build_routes(self._app)

    def _route(self, call: ToolCall) -> tuple[Route, str] | None:
        asked, served = urlsplit(call.url), urlsplit(SERVER)
        if asked.hostname != served.hostname or not asked.path.startswith(served.path + "/"):
            return None
        path = unquote(asked.path.removeprefix(served.path))
        route = next((route for route in self._routes if route.matches(path)), None)
        return (route, path) if route else None


def _path_argument_names(route: Route, call: ToolCall) -> frozenset[str]:
    documented = (p.name for p in call.tool.parameters if p.location == "path") if call.tool else ()
    return route.names | frozenset(documented)
