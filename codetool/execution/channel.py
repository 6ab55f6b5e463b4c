"""The host's end of a line into the sandbox: messages over a non-blocking socket, and who really sent them."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codetool.execution.protocol import HEADER, Message, length, pack, unpack

_CREDENTIALS = struct.Struct("iII")


class ClosedError(Exception):
    """The process at the other end closed its line: it is dead or as good as dead."""


class Channel:
    """One message after the other, and none that was not awaited."""

    def __init__(self) -> None:
        """A new pair of sockets; `theirs` is the end to give away."""
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        if sys.platform == "linux":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = ours
        self._buffer = bytearray()
        self._awaited = 0
        self._closing = False

    async def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message, with open files attached to its first byte. Raises ClosedError."""
        frame = pack(message)
        try:
            if descriptors:
                frame = frame[socket.send_fds(self._socket, [frame], list(descriptors)) :]
            if frame:
                await asyncio.get_running_loop().sock_sendall(self._socket, frame)
        except OSError as error:
            raise ClosedError(str(error)) from error

    async def receive(self) -> Message:
        """The next message. Raises ClosedError at the end, ProtocolError if it is none."""
        loop = asyncio.get_running_loop()
        while True:
            if len(self._buffer) >= HEADER.size:
                end = HEADER.size + length(bytes(self._buffer[: HEADER.size]))
                if len(self._buffer) >= end:
                    body = bytes(self._buffer[HEADER.size : end])
                    del self._buffer[:end]
                    return unpack(body)
            try:
                with self._waiting():
                    chunk = await loop.sock_recv(self._socket, 2**18)
            except OSError as error:
                raise ClosedError(str(error)) from error
            if not chunk:
                raise ClosedError("the line was closed")
            self._buffer += chunk

    async def hello(self) -> tuple[int | None, Message, list[int]]:
        """The first message, the pid of the process that sent it (None where no kernel tells) and files it brought.

        The kernel states the pid and translates it out of the sender's pid namespace; it cannot be forged.
        """
        with self._waiting():
            await self._readable()
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
        try:
            chunk, ancillary, _, _ = self._socket.recvmsg(2**16, space)
        except OSError as error:
            raise ClosedError(str(error)) from error
        self._buffer += chunk
        pid, files = None, array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(data[: len(data) - len(data) % files.itemsize])
            elif sys.platform == "linux" and level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = _CREDENTIALS.unpack(data)[0]
        try:
            return pid, await self.receive(), list(files)
        except BaseException:
            for descriptor in files:
                os.close(descriptor)
            raise

    def quiet(self) -> bool:
        """Whether nothing has arrived that nobody asked for."""
        if self._buffer:
            return False
        with contextlib.suppress(BlockingIOError, OSError):
            return not self._socket.recv(1, socket.MSG_PEEK)
        return True

    async def _readable(self) -> None:
        loop, number = asyncio.get_running_loop(), self._socket.fileno()
        ready = loop.create_future()
        loop.add_reader(number, _arrived, ready)
        try:
            await ready
        finally:
            loop.remove_reader(number)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._awaited += 1
        try:
            yield
        finally:
            self._awaited -= 1
            if self._closing and not self._awaited:
                self._socket.close()

    def close(self) -> None:
        """Close both ends, as far as they are still here. Who waits for a message is told."""
        self.theirs.close()
        self._closing = True
        if self._awaited:  # the event loop still watches it: let the wait end first
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()


def _arrived(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
