"""The replica as a FastAPI app. An operation is a function in a route file, a route file a name in ROUTERS.

A route's `response_model` describes its answers in the OpenAPI document and is not applied to them when the replica
runs: tests hold the answers of every operation to it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from hmac import compare_digest
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import to_json

from codetool.tmdb import error_responses
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.imdb_ids import ImdbIds
from codetool.tmdb.routes import (
    by_id,
    collections,
    companies,
    discover_movies,
    discover_shows,
    episodes,
    genres,
    movie_lists,
    movies,
    networks,
    people,
    search,
    seasons,
    shows,
    trending,
)

SERVER = "https://api.themoviedb.org/3"
ROUTERS = tuple(
    module.router
    for module in (
        search,
        movie_lists,
        movies,
        shows,
        episodes,
        seasons,
        networks,
        discover_movies,
        discover_shows,
        genres,
        by_id,
        people,
        collections,
        companies,
        trending,
    )
)

NO_TELEMETRY: dict[str, Any] = {
    "telemetry": {"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
}
"""FastAPI reports every request to OpenTelemetry where that is installed; nobody here has asked for it. A FastAPI that
does not report yet ignores the option."""


def create_app(catalogue: Catalog | None = None, *, require_key: bool = False, key: str = "") -> FastAPI:
    """The app over a catalogue; without one it can only describe itself.

    With `require_key` a request needs a bearer token or an `api_key`: `key`, or where that is empty any value.
    """
    app = FastAPI(
        title="TMDB replica",
        version="3",
        description="Films, TV shows and people: the part of The Movie Database's API that CodeTool's tasks need.",
        servers=[{"url": SERVER}],
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        dependencies=[Depends(_make_key_check(key))] if require_key else [],
        **NO_TELEMETRY,
    )
    app.state.catalogue = catalogue
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            app.add_api_route(
                route.path, _return_response(route.endpoint), response_model=route.response_model, summary=route.summary
            )
    error_responses.install_handlers(app)
    if catalogue is not None:
        app.add_middleware(ImdbIds, catalogue=catalogue)
    return app


def _return_response(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Response]]:
    """The endpoint with its answer made a response here, which keeps FastAPI from validating it again."""

    @wraps(endpoint)
    async def respond(**arguments: Any) -> Response:
        answer = await endpoint(**arguments)
        if isinstance(answer, Response):
            return answer
        return Response(to_json(answer), media_type="application/json")

    return respond


def _make_key_check(key: str) -> Callable[[Request], Awaitable[None]]:
    async def demand_key(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        given = given or request.query_params.get("api_key", "")
        if not given or (key and not compare_digest(given.encode(), key.encode())):
            raise error_responses.invalid_key()

    return demand_key


def _operation_id(route: APIRoute) -> str:
    return "GET_" + re.sub(r"\W+", "_", route.path_format).strip("_")
