"""Store of the bodies of recorded answers: in memory up to a limit, then compressed in a temporary file without a name.

Long runs on live tools record gigabytes, and every body may be asked for again. The temporary file, not the recordings
file, is read for this: other processes extend and may replace the latter.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import weakref
import zlib
from dataclasses import dataclass
from typing import IO

logger = logging.getLogger(__name__)

MAX_CHARS_IN_MEMORY = 8 * 2**20
"""Number of characters of all bodies together that are kept in memory."""
MIN_STORED_CHARS = 512
"""Bodies shorter than this stay in memory in any case; a reference to the file takes about as much."""


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body in the temporary file of a store, at `offset` with `length` compressed bytes."""

    store: BodyStore
    offset: int
    length: int


Body = str | StoredBody


def read_body(body: Body) -> str:
    """The text of a body. Raises OSError if it is stored in a file that cannot be read."""
    return body if isinstance(body, str) else body.store.read(body)


class BodyStore:
    """Keeps bodies; may be used by several threads. If the disk is full, further bodies stay in memory."""

    def __init__(self, max_chars_in_memory: int = MAX_CHARS_IN_MEMORY) -> None:
        """The temporary file is made when more than `max_chars_in_memory` characters have been kept."""
        self._free_chars = max_chars_in_memory
        self._file: IO[bytes] | None = None
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
                return self._write(zlib.compress(text.encode("utf-8", "surrogatepass"), 1))
            except OSError as error:
                self._has_failed = True
                logger.warning("Recorded answers stay in memory, since no temporary file can be written: %s", error)
                return text

    def read(self, body: StoredBody) -> str:
        """The text of a body of this store. Raises OSError if the file cannot be read."""
        assert self._file is not None
        compressed = os.pread(self._file.fileno(), body.length, body.offset)
        return zlib.decompress(compressed).decode("utf-8", "surrogatepass")

    def _write(self, compressed: bytes) -> StoredBody:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="codetool-recordings-")
            weakref.finalize(self, self._file.close)
        rest, offset = memoryview(compressed), self._end
        while rest:
            rest = rest[os.pwrite(self._file.fileno(), rest, offset + len(compressed) - len(rest)) :]
        self._end += len(compressed)
        return StoredBody(self, offset, len(compressed))
