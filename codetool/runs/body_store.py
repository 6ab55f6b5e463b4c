"""Store of the bodies of tool answers: in memory up to a limit, further ones in a temporary file without a name.

Long runs on live tools receive gigabytes, and every body may be asked for again: by an equal call of another task, or
to run a step again.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import weakref
from dataclasses import dataclass

logger = logging.getLogger(__name__)

MIN_STORED_CHARS = 100
"""Bodies shorter than this stay in memory in any case; a reference to the file takes about as much."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body in the temporary file of a store, at `offset` with `size` bytes."""

    store: BodyStore
    offset: int
    size: int


Body = str | StoredBody


def read_body(body: Body) -> str:
    """The text of a body. Raises OSError if it is stored in a file that cannot be read."""
    return body if isinstance(body, str) else body.store.read(body)


class BodyStore:
    """Keeps bodies; may be used by several threads. If the disk is full, further bodies stay in memory.

    The file is freed with this object, to which every stored body refers.
    """

    def __init__(self, max_chars_in_memory: int) -> None:
        """The temporary file is made when more than `max_chars_in_memory` characters have been kept."""
        self._free_chars = max_chars_in_memory
        self._descriptor: int | None = None
        self._end = 0
        self._has_failed = False
        self._lock = threading.Lock()

    def keep(self, text: str) -> Body:
        """Keep a body, and return the body or where it is."""
        with self._lock:
            if len(text) < MIN_STORED_CHARS or len(text) <= self._free_chars or self._has_failed:
                self._free_chars -= len(text)
                return text
            try:
                return self._write(text.encode("utf-8", "surrogatepass"))
            except OSError as error:
                self._has_failed = True
                logger.warning("Tool answers stay in memory, since no temporary file can be written: %s", error)
                return text

    def read(self, body: StoredBody) -> str:
        """The text of a body of this store. Raises OSError if the file cannot be read."""
        assert self._descriptor is not None
        return os.pread(self._descriptor, body.size, body.offset).decode("utf-8", "surrogatepass")

    def _write(self, data: bytes) -> StoredBody:
        if self._descriptor is None:
            self._descriptor = _open_temporary_file()
            weakref.finalize(self, os.close, self._descriptor)
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._end + written)
        body = StoredBody(self, self._end, len(data))
        self._end += len(data)
        return body


def _open_temporary_file() -> int:
    """The descriptor of a new file without a name; its space is free again once it is closed."""
    with tempfile.TemporaryFile(prefix="codetool-answers-") as file:
        return os.dup(file.fileno())
