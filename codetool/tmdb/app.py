"""FastAPI app of the TMDB replica. Each operation is a function in a module of `routes`; ROUTERS lists the modules.

The `response_model` of a route only describes its responses in the OpenAPI document. It is not applied at run time;
tests check the responses of every operation against it.
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
"""Option that stops FastAPI from reporting every request to OpenTelemetry if that is installed. Older versions of
FastAPI, which do not report, ignore it."""


def create_app(catalog: Catalog | None = None, *, require_key: bool = False, key: str = "") -> FastAPI:
    """Create the app for a catalog; without a catalog it can only generate its OpenAPI document.

    With `require_key` a request needs a bearer token or an `api_key` equal to `key`; an empty `key` accepts any value.
    """
    app = FastAPI(
        title="TMDB replica",
        version="3",
        description="Films, TV shows and people: the part of The Movie Database's API that CodeTool's tasks need.",
        servers=[{"url": SERVER}],
        openapi_url=None,
        generate_unique_id_function=_make_operation_id,
        dependencies=[Depends(_make_key_check(key))] if require_key else [],
        **NO_TELEMETRY,
    )
    app.state.catalog = catalog
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            app.add_api_route(
                route.path, _return_response(route.endpoint), response_model=route.response_model, summary=route.summary
            )
    error_responses.install_handlers(app)
    if catalog is not None:
        app.add_middleware(ImdbIds, catalog=catalog)
    return app


def _return_response(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Response]]:
    """Wrap an endpoint so that it returns a response, which FastAPI does not validate."""

    @wraps(endpoint)
    async def respond(**arguments: Any) -> Response:
        answer = await endpoint(**arguments)
        if isinstance(answer, Response):
            return answer
        return Response(to_json(answer), media_type="application/json")

    return respond


def _make_key_check(key: str) -> Callable[[Request], Awaitable[None]]:
    async def check_key(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        request_key = token.strip() if scheme.lower() == "bearer" else ""
        request_key = request_key or request.query_params.get("api_key", "")
        if not request_key or (key and not compare_digest(request_key.encode(), key.encode())):
            raise error_responses.invalid_key()

    return check_key


def _make_operation_id(route: APIRoute) -> str:
    return "GET_" + re.sub(r"\W+", "_", route.path_format).strip("_")
