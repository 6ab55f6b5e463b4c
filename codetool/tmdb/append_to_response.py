"""`append_to_response` of details routes: add the responses of sub-resources to the details in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi.responses import JSONResponse

from codetool.tmdb.error_responses import too_many_parts
from codetool.tmdb.list_items import JSONObject

Parts = Mapping[str, Callable[[], JSONObject]]
"""Name of each sub-resource that can be appended, with the function that renders its response."""

MAX_PARTS = 20


def append_parts(body: JSONObject, names: str, parts: Parts) -> JSONObject | JSONResponse:
    """Return the details with the named parts added.

    As in the real API, parts have no id and unknown names are ignored.
    Raises TMDBError (400) for more than twenty names.
    """
    requested_names = [name for name in names.replace(" ", "").split(",") if name]
    if len(requested_names) > MAX_PARTS:
        raise too_many_parts()
    known_names = [name for name in requested_names if name in parts]
    if not known_names:
        return body
    appended = {name: {key: value for key, value in parts[name]().items() if key != "id"} for name in known_names}
    return JSONResponse(body | appended)  # bypasses the route's response model, which describes only the details
