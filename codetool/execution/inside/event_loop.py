"""Lets generated code use `asyncio`, whose event loops wake themselves through a pair of sockets.

The sandbox lets nobody make sockets: over a pair of them open files could be handed from one branch to another. One
end of a pipe to read from and the other to write to are all that an event loop needs.
"""

from __future__ import annotations

import os
import socket


class PipeEnd:
    """One end of a pipe with what an event loop asks of a socket."""

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
    """Give code a `socket.socketpair` that event loops can use, and that is good for nothing else."""
    socket.socketpair = _make_pair  # type: ignore[assignment]


def _make_pair(*_arguments: object, **_options: object) -> tuple[PipeEnd, PipeEnd]:
    reading, writing = os.pipe()
    return PipeEnd(reading), PipeEnd(writing)
