"""Error responses of the TMDB API, so that generated code sees the same errors as with the real service.

Codes, messages and HTTP statuses follow https://developer.themoviedb.org/docs/errors.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

NOT_A_DAY = "not_a_day"
"""Type of the validation error for an invalid date."""


class TMDBError(Exception):
    """Error that becomes an error response: HTTP status, TMDB error code and message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def not_found() -> TMDBError:
    """Return the error for an unknown id or path."""
    return TMDBError(404, 34, "The resource you requested could not be found.")


def invalid_key() -> TMDBError:
    """Return the error for a request without a valid key."""
    return TMDBError(401, 7, "Invalid API key: You must be granted a valid key.")


def wrong_method() -> TMDBError:
    """Return the error for a method other than GET on an existing path."""
    return TMDBError(405, 42, "This request method is not supported for this resource.")


def too_many_parts() -> TMDBError:
    """Return the error for a request that appends more than 20 parts."""
    message = "Too many append to response objects: The maximum number of remote calls is 20."
    return TMDBError(400, 27, message)


def install_handlers(app: FastAPI) -> None:
    """Make the app answer all errors in TMDB's format."""

    async def handle_tmdb_error(_: Request, failure: Exception) -> JSONResponse:
        assert isinstance(failure, TMDBError)
        return _render_error(failure)

    async def handle_http_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _render_error(wrong_method() if error.status_code == 405 else not_found())

    async def handle_validation_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _render_error(_make_parameter_error({tuple(detail["loc"]): detail["type"] for detail in error.errors()}))

    app.add_exception_handler(TMDBError, handle_tmdb_error)
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_validation_error)


def _make_parameter_error(faults: dict[tuple[str | int, ...], str]) -> TMDBError:
    """Return the error for invalid parameters; `faults` has the error type of each parameter by its location."""
    if any(location[0] == "path" and fault != "literal_error" for location, fault in faults.items()):
        return TMDBError(404, 6, "Invalid id: The pre-requisite id is invalid or not found.")
    if ("query", "page") in faults:
        message = "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."
        return TMDBError(400, 22, message)
    if NOT_A_DAY in faults.values():
        return TMDBError(400, 23, "Invalid date: Format needs to be YYYY-MM-DD.")
    return TMDBError(422, 5, "Invalid parameters: Your request parameters are incorrect.")


def _render_error(failure: TMDBError) -> JSONResponse:
    body = {"success": False, "status_code": failure.code, "status_message": failure.message}
    return JSONResponse(body, status_code=failure.status)
