"""`append_to_response`: details with other answers about the same record, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi.responses import JSONResponse

from codetool.tmdb.error_responses import too_many_parts
from codetool.tmdb.list_items import JSONObject

Parts = Mapping[str, Callable[[], JSONObject]]
"""The sub-resources that can be appended, each as its own route answers it."""

MAX_PARTS = 20


def append_parts(body: JSONObject, names: str, parts: Parts) -> JSONObject | JSONResponse:
    """The details with the parts named; as at the service, a part leaves its id out and an unknown name is ignored.

    Raises TMDB's 400 for more than twenty names.
    """
    named = [name for name in names.replace(" ", "").split(",") if name]
    if len(named) > MAX_PARTS:
        raise too_many_parts()
    asked = [name for name in named if name in parts]
    if not asked:
        return body
    found = {name: {key: value for key, value in parts[name]().items() if key != "id"} for name in asked}
    return JSONResponse(body | found)  # past the route's model, which describes the details alone
