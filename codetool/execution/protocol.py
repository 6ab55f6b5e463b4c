"""Frames between the host and the sandbox: four bytes of length, then one JSON object.

Both sides use this file, so it needs nothing but the standard library. JSON, never pickle: what a sandboxed process
sends is data from an enemy and must not be able to do more than be wrong.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

Message = dict[str, Any]

HEADER = struct.Struct("!I")
MAX_FRAME = 64 * 2**20
"""Bytes of the longest frame: an answer of 10 MB fits, whatever its characters are."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class ProtocolError(Exception):
    """The other side sent something that the protocol does not allow here."""


def pack(message: Mapping[str, Any]) -> bytes:
    """The frame of one message. Raises ProtocolError above MAX_FRAME."""
    body = _encode(dict(message)).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
    return HEADER.pack(len(body)) + body


def parse_length(header: bytes, longest: int = MAX_FRAME) -> int:
    """The number of bytes that follow a header. Raises ProtocolError above `longest`."""
    size: int = HEADER.unpack(header)[0]
    if size > longest:
        raise ProtocolError(f"a frame of {size} bytes is longer than {longest}")
    return size


def unpack(body: bytes) -> Message:
    """The message in a frame's body. Raises ProtocolError if it is no JSON object with a `kind`."""
    try:
        message = _decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ProtocolError("a frame is not an object with a kind")
    return message


def get_text(message: Message, field: str, *, optional: bool = False) -> str:
    """A text field, with surrogates that UTF-8 cannot carry replaced. Raises ProtocolError on another type."""
    value = message.get(field)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise ProtocolError(f"{field} is {type(value).__name__}, not text")
    return value.encode(errors="replace").decode()


def send(line: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message over a blocking socket, with open files attached to its first byte."""
    frame = pack(message)
    if descriptors:
        sent = socket.send_fds(line, [frame], list(descriptors))
        frame = frame[sent:]
    line.sendall(frame)


def receive(line: socket.socket) -> tuple[Message, list[int]]:
    """The next message of a blocking socket and the files that came with it. Raises EOFError at its end."""
    header, descriptors, _, _ = socket.recv_fds(line, HEADER.size, 4)
    header += _receive_exactly(line, HEADER.size - len(header)) if header else b""
    if not header:
        raise EOFError("the other side closed the line")
    return unpack(_receive_exactly(line, parse_length(header))), list(descriptors)


def _receive_exactly(line: socket.socket, size: int) -> bytes:
    chunks = []
    while size:
        chunk = line.recv(size)
        if not chunk:
            raise EOFError("the other side closed the line in the middle of a frame")
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
