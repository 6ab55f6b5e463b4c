"""The replica as a FastAPI app. An operation is a function in a route file, a route file a name in ROUTERS."""

from __future__ import annotations

import re

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute

from codetool.tools.tmdb import collections, companies, failures, movies, people, search, shows, trending
from codetool.tools.tmdb.catalogue import Catalogue

SERVER = "https://api.themoviedb.org/3"
ROUTERS = tuple(module.router for module in (search, movies, shows, people, collections, companies, trending))


def create_app(catalogue: Catalogue | None = None, *, require_key: bool = False) -> FastAPI:
    """The app over a catalogue; without one it can only describe itself.

    With `require_key` a request needs a bearer token or an `api_key`, of any value: the broker adds keys after the
    sandbox, and this is how a test sees that it did.
    """
    app = FastAPI(
        title="TMDB replica",
        version="3",
        description="Films, TV shows and people: the part of The Movie Database's API that CodeTool's tasks need.",
        servers=[{"url": SERVER}],
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(_demand_key)] if require_key else [],
    )
    app.state.catalogue = catalogue
    for router in ROUTERS:
        app.include_router(router)
    failures.install(app)
    return app


async def _demand_key(request: Request) -> None:
    token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not token and not request.query_params.get("api_key"):
        raise failures.invalid_key()


def _operation_id(route: APIRoute) -> str:
    return "GET_" + re.sub(r"\W+", "_", route.path_format).strip("_")
