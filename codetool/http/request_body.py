"""Read the body of a request to one of our servers in bounded memory and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from codetool.concurrency import LARGE_BYTES, admit_large_data

if TYPE_CHECKING:
    from starlette.requests import Request

READ_SECONDS = 60.0
"""Maximum time in seconds until a body must have arrived."""


class BodyRefusedError(Exception):
    """A body is too large or too slow; `status` is the HTTP status of the refusal."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def read_request_body(request: Request, max_bytes: int) -> bytearray:
    """Return the body of a request.

    Raises BodyRefusedError if it has more than `max_bytes` bytes, without reading it if its Content-Length says so, or
    if it does not arrive in time. Raises starlette's ClientDisconnect if the client leaves.
    """
    reason = f"the body has more than {max_bytes} bytes, the most that is read"
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise BodyRefusedError(413, reason)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    body.clear()  # the exception's traceback would keep it
                    raise BodyRefusedError(413, reason)
                if len(body) > LARGE_BYTES:
                    await admit_large_data()
    except TimeoutError as error:
        raise BodyRefusedError(408, f"the body did not arrive within {READ_SECONDS:g} s") from error
    return body
