"""TMDB's own error bodies, so that generated code meets here what it would meet at the service.

Codes, words and HTTP statuses are those of https://developer.themoviedb.org/docs/errors.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

NOT_A_DAY = "not_a_day"
"""The type of the validation error for a day that is none."""


class TMDBError(Exception):
    """A failure to answer with: HTTP status, TMDB's code and words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def not_found() -> TMDBError:
    """The failure for an id or a path that nobody knows."""
    return TMDBError(404, 34, "The resource you requested could not be found.")


def invalid_key() -> TMDBError:
    """The failure for a request without a key."""
    return TMDBError(401, 7, "Invalid API key: You must be granted a valid key.")


def wrong_method() -> TMDBError:
    """The failure for a method other than GET on a path that exists."""
    return TMDBError(405, 42, "This request method is not supported for this resource.")


def too_many_parts() -> TMDBError:
    """The failure for details with more than 20 parts appended."""
    words = "Too many append to response objects: The maximum number of remote calls is 20."
    return TMDBError(400, 27, words)


def install_handlers(app: FastAPI) -> None:
    """Make the app answer its failures in TMDB's words."""

    async def fail(_: Request, failure: Exception) -> JSONResponse:
        assert isinstance(failure, TMDBError)
        return _render_error(failure)

    async def unrouted(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _render_error(wrong_method() if error.status_code == 405 else not_found())

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _render_error(_error_for_parameters({tuple(detail["loc"]): detail["type"] for detail in error.errors()}))

    app.add_exception_handler(TMDBError, fail)
    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(RequestValidationError, invalid)


def _error_for_parameters(faults: dict[tuple[str | int, ...], str]) -> TMDBError:
    """The failure for the faulty parameters: by place, what is wrong with each."""
    if any(place[0] == "path" and fault != "literal_error" for place, fault in faults.items()):
        return TMDBError(404, 6, "Invalid id: The pre-requisite id is invalid or not found.")
    if ("query", "page") in faults:
        words = "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."
        return TMDBError(400, 22, words)
    if NOT_A_DAY in faults.values():
        return TMDBError(400, 23, "Invalid date: Format needs to be YYYY-MM-DD.")
    return TMDBError(422, 5, "Invalid parameters: Your request parameters are incorrect.")


def _render_error(failure: TMDBError) -> JSONResponse:
    body = {"success": False, "status_code": failure.code, "status_message": failure.message}
    return JSONResponse(body, status_code=failure.status)
