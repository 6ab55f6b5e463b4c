"""A film's id at IMDb in place of its own: `/movie/tt0137523/credits` is `/movie/550/credits`, as at the service."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from codetool.tmdb.catalog_dependency import Catalog

_PATH = re.compile(r"(/movie/)(tt\d+)(?=/|$)")


class ImdbIds:
    """Middleware that gives the app the replica's own id of a film. An id of no film here becomes 0, which none has."""

    def __init__(self, app: ASGIApp, catalogue: Catalog) -> None:
        self._app, self._catalogue = app, catalogue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path that the app knows."""
        if scope["type"] == "http" and "/movie/tt" in scope["path"]:
            path = _PATH.sub(self._own, scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def _own(self, found: re.Match[str]) -> str:
        movie = self._catalogue.store.by_imdb_id.get(found[2])
        return f"{found[1]}{movie.id if movie else 0}"
