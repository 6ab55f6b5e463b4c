"""Wire format between the host and the sandbox: frames of four bytes of length and one JSON object.

Both sides import this module, so it uses only the standard library. The format is JSON, not pickle, because data from a
sandboxed process is untrusted and must not be able to execute code.
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
"""Maximum size of a frame in bytes; an answer of 10 MB fits with any characters."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_decode = json.JSONDecoder().decode


class ProtocolError(Exception):
    """The other side sent something that the protocol does not allow here."""


def pack(message: Mapping[str, Any]) -> bytes:
    """Encode one message as a frame. Raises ProtocolError above MAX_FRAME."""
    body = _encode(dict(message)).encode("utf-8", "surrogatepass")
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
    return HEADER.pack(len(body)) + body


def parse_length(header: bytes, max_size: int = MAX_FRAME) -> int:
    """The number of bytes that follow a header. Raises ProtocolError above `max_size`."""
    size: int = HEADER.unpack(header)[0]
    if size > max_size:
        raise ProtocolError(f"a frame of {size} bytes is longer than {max_size}")
    return size


def unpack(body: bytes) -> Message:
    """Decode a frame's body. Raises ProtocolError if it is not a JSON object with a `kind`."""
    try:
        message = _decode(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ProtocolError("a frame is not an object with a kind")
    return message


def get_text(message: Message, field: str, *, optional: bool = False) -> str:
    """A text field of a message, with lone surrogates replaced. Raises ProtocolError if it is not text."""
    value = message.get(field)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise ProtocolError(f"{field} is {type(value).__name__}, not text")
    return replace_surrogates(value)


def replace_surrogates(text: str) -> str:
    """The text with lone surrogates, which no encoding allows, replaced by question marks."""
    return text.encode(errors="replace").decode()


def send(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message over a blocking socket, with open files attached to its first byte."""
    frame = pack(message)
    if descriptors:
        sent = socket.send_fds(connection, [frame], list(descriptors))
        frame = frame[sent:]
    connection.sendall(frame)


def receive(connection: socket.socket) -> tuple[Message, list[int]]:
    """The next message of a blocking socket and the files sent with it. Raises EOFError if the socket is closed."""
    header, descriptors, _, _ = socket.recv_fds(connection, HEADER.size, 4)
    header += _receive_exactly(connection, HEADER.size - len(header)) if header else b""
    if not header:
        raise EOFError("the other side closed the line")
    return unpack(_receive_exactly(connection, parse_length(header))), list(descriptors)


def _receive_exactly(connection: socket.socket, size: int) -> bytes:
    chunks = []
    while size:
        chunk = connection.recv(size)
        if not chunk:
            raise EOFError("the other side closed the line in the middle of a frame")
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
