"""The host's end of a socket to a sandboxed process: sends and receives messages, and verifies the sender's pid."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.protocol import HEADER, MAX_FRAME, Message, pack, parse_length, unpack

_CREDENTIALS = struct.Struct("iII")
_UNREAD_BYTES = 0x5411
"""SIOCOUTQ, which counts the bytes that the other end of a socket has not yet received."""


class ClosedError(Exception):
    """The process at the other end closed its socket or died."""


class Channel:
    """A non-blocking connection that carries one message at a time."""

    def __init__(self, max_size: int = MAX_FRAME) -> None:
        """Create a pair of sockets. `peer_socket` is the other process's end, which may send up to `max_size` bytes."""
        own_socket, self.peer_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        own_socket.setblocking(False)
        if sys.platform == "linux":
            own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket = own_socket
        self._max_size = max_size
        self._buffer = bytearray()
        self._waiter_count = 0
        self._closing = False

    async def send(self, message: Mapping[str, Any], timer: PausableTimer, descriptors: Sequence[int] = ()) -> None:
        """Send a message, with open files attached to its first byte. Raises ClosedError, TimeoutError."""
        rest = memoryview(pack(message))
        try:
            if descriptors:
                rest = rest[socket.send_fds(self._socket, [rest], list(descriptors)) :]
            while rest:
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    if not await timer.wait_within_limit(self._wait_writable):
                        raise TimeoutError("it does not read what it is told") from None
        except TimeoutError:
            raise
        except OSError as error:
            raise ClosedError(str(error)) from error

    async def receive(self, timer: PausableTimer) -> Message:
        """The next message. Raises ClosedError if the socket is closed, ProtocolError if it is malformed, TimeoutError.

        A timeout or a cancellation loses no part of a message.
        """
        in_time = True
        while (message := self._next_buffered_message()) is None:
            if not in_time:
                raise TimeoutError("it said nothing in time")
            in_time = await timer.wait_within_limit(self._wait_readable)
        return message

    def _next_buffered_message(self) -> Message | None:
        """The next message if it has arrived completely, else None."""
        while True:
            if len(self._buffer) >= HEADER.size:
                end = HEADER.size + parse_length(bytes(self._buffer[: HEADER.size]), self._max_size)
                if len(self._buffer) >= end:
                    body = bytes(self._buffer[HEADER.size : end])
                    del self._buffer[:end]
                    return unpack(body)
            try:
                chunk = self._socket.recv(2**18)
            except BlockingIOError:
                return None
            except OSError as error:
                raise ClosedError(str(error)) from error
            if not chunk:
                raise ClosedError("the line was closed")
            self._buffer += chunk

    async def handshake(self, timer: PausableTimer) -> tuple[int | None, Message, list[int]]:
        """The sender's pid (None if the kernel does not report it), the first message and the files sent with it.

        The kernel reports the pid, translated out of the sender's pid namespace, so it cannot be forged. Raises like
        `receive`.
        """
        await timer.wait_within_limit(self._wait_readable)
        ancillary_size = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
        try:
            chunk, ancillary, _, _ = self._socket.recvmsg(2**16, ancillary_size)
        except BlockingIOError:
            raise TimeoutError("it did not report in time") from None
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
            return pid, await self.receive(timer), list(files)
        except BaseException:
            for descriptor in files:
                os.close(descriptor)
            raise

    def is_idle(self) -> bool:
        """Whether no unrequested data has arrived."""
        if self._buffer:
            return False
        with contextlib.suppress(BlockingIOError, OSError):
            return not self._socket.recv(1, socket.MSG_PEEK)
        return True

    def has_unread_data(self) -> bool:
        """Whether the process has not yet received all that was sent to it, with the files attached to it."""
        if sys.platform != "linux":
            return False
        return any(fcntl.ioctl(self._socket, _UNREAD_BYTES, bytes(4)))

    async def _wait_readable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._wait_for_event(loop.add_reader, loop.remove_reader)

    async def _wait_writable(self) -> None:
        loop = asyncio.get_running_loop()
        await self._wait_for_event(loop.add_writer, loop.remove_writer)

    async def _wait_for_event(self, add_watch: Callable[..., None], remove_watch: Callable[[int], object]) -> None:
        """Wait until the socket is ready. `close` does not close the socket while the event loop watches it."""
        ready, number = asyncio.get_running_loop().create_future(), self._socket.fileno()
        if number < 0:
            raise ClosedError("the line was closed")
        add_watch(number, _mark_ready, ready)
        self._waiter_count += 1
        try:
            await ready
        finally:
            remove_watch(number)
            self._waiter_count -= 1
            if self._closing and not self._waiter_count:
                self._socket.close()

    def close(self) -> None:
        """Close both ends that this process holds. A pending wait ends with ClosedError."""
        self.peer_socket.close()
        self._closing = True
        if self._waiter_count:  # the event loop still watches it; let the wait end first
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        else:
            self._socket.close()


def _mark_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
