"""Find and remove the torn end of W&B's log files, `run-ID.wandb`.

A file that was being written when its process was killed ends within a record. `wandb sync` stops there and skips the
later files of the same run, and it fails for all files if one holds no run at all. So the torn end is cut off.

The format is that of LevelDB's logs: blocks of 32 KiB that hold chunks, each with a CRC-32 (4 bytes), a length (2) and
a kind (1); a record is one whole chunk, or a first, middle ones and a last. A header of 7 bytes stands before the first
chunk.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

FILE_HEADER = b":W&B\xe1\xbe\x00"
BLOCK_BYTES = 32768
CHUNK_HEADER_BYTES = 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def iterate_records(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each whole record of a log file in order, with the position where it ends; stop at a torn one."""
    if not content.startswith(FILE_HEADER):
        return
    position, parts = len(FILE_HEADER), b""
    while True:
        if BLOCK_BYTES - position % BLOCK_BYTES < CHUNK_HEADER_BYTES:  # padding
            position += BLOCK_BYTES - position % BLOCK_BYTES
        start = position + CHUNK_HEADER_BYTES
        checksum = int.from_bytes(content[position : position + 4], "little")
        end = start + int.from_bytes(content[position + 4 : position + 6], "little")
        if max(start, end) > len(content) or zlib.crc32(content[start - 1 : end]) != checksum:
            return
        kind = content[start - 1]
        if kind not in ((MIDDLE, LAST) if parts else (WHOLE, FIRST)):
            return
        parts += content[start:end]
        position = end
        if kind in (WHOLE, LAST):
            yield position, parts
            parts = b""


def cut_torn_record(file: Path) -> int:
    """Cut off what follows the last whole record of a log file, and return the number of whole records."""
    content = file.read_bytes()
    ends = [end for end, _ in iterate_records(content)]
    if (end := ends[-1] if ends else len(FILE_HEADER)) < len(content):
        with file.open("r+b") as opened:
            opened.truncate(end)
    return len(ends)
