"""Accept IMDb ids in paths: `/movie/tt0137523/credits` equals `/movie/550/credits`, as in the real API."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from codetool.tmdb.catalog_dependency import Catalog

_PATH = re.compile(r"(/movie/)(tt\d+)(?=/|$)")


class ImdbIds:
    """Middleware that replaces a film's IMDb id in a path by its TMDB id; unknown ids become 0, which no film has."""

    def __init__(self, app: ASGIApp, catalog: Catalog) -> None:
        self._app, self._catalog = app, catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with the replaced path."""
        if scope["type"] == "http" and "/movie/tt" in scope["path"]:
            path = _PATH.sub(self._own, scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def _own(self, match: re.Match[str]) -> str:
        movie = self._catalog.store.by_imdb_id.get(match[2])
        return f"{match[1]}{movie.id if movie else 0}"
