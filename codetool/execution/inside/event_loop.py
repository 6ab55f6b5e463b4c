"""Replace `socket.socketpair` by pipes, so that generated code can use `asyncio` without sockets.

The sandbox forbids new sockets, because open files could be passed over them between branches. An event loop needs the
pair only to wake itself, for which a pipe suffices.
"""

from __future__ import annotations

import os
import socket


class PipeEnd:
    """One end of a pipe with the socket methods that an event loop uses."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def setblocking(self, flag: bool) -> None:
        os.set_blocking(self._descriptor, flag)

    def recv(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def send(self, data: bytes) -> int:
        return os.write(self._descriptor, data)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def install() -> None:
    """Replace `socket.socketpair` by a function that returns two pipe ends."""
    socket.socketpair = _make_pair  # type: ignore[assignment]


def _make_pair(*_arguments: object, **_options: object) -> tuple[PipeEnd, PipeEnd]:
    reading, writing = os.pipe()
    return PipeEnd(reading), PipeEnd(writing)
