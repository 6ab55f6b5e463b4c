"""Match a path to one of the app's routes without calling the app."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute


@dataclass(frozen=True)
class Route:
    """One operation: endpoint, e.g. `GET /movie/{movie_id}`, path variables, and a pattern for its paths."""

    endpoint: str
    names: frozenset[str]
    pattern: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Return whether a path belongs to this operation, whatever the method."""
        return self.pattern.fullmatch(path) is not None


def build_routes(app: FastAPI) -> tuple[Route, ...]:
    """Return the operations of the app, those with fewer variables first: `popular` in `/tv/popular` is no id."""
    paths = [route.path_format for route in app.routes if isinstance(route, APIRoute)]
    paths.sort(key=lambda path: path.count("{"))
    return tuple(_parse_route(path) for path in paths)


def _parse_route(path: str) -> Route:
    names = frozenset(re.findall(r"{(\w+)}", path))
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))
    return Route(f"GET {path}", names, re.compile(pattern))
