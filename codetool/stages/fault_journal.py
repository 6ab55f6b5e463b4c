"""Read and write `faults.jsonl`: the faults of services that the commands of a folder met, one line per report.

Each is appended when it happens, so the counts of a command that is killed are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from codetool.errors import WriteError
from codetool.http.fault_counts import UNUSED_TOKENS, FaultCounts, collect_faults
from codetool.runs import journal
from codetool.runs.merged_sessions import PART_KEY

FAULTS_FILE = "faults.jsonl"


class FaultJournal:
    """The folder's file, created with the first fault."""

    def __init__(self, folder: Path) -> None:
        """Store the path; the file is not opened yet."""
        self._path = folder / FAULTS_FILE
        self._unwritten = FaultCounts()
        self._journal: journal.Journal | None = None
        self._stack = ExitStack()
        self._lock = Lock()
        self._is_closed = False

    def append(self, encoded: Mapping[str, Any]) -> None:
        """Append counts, but none after `close`. What the disk does not take is appended with the next ones."""
        with self._lock, suppress(WriteError):
            self._unwritten.add(encoded)
            self._write()

    def close(self) -> None:
        """Append what is left, and close the file. Raises WriteError if that cannot be written."""
        with self._lock, self._stack:
            try:
                self._write()
            finally:
                self._is_closed = True

    def _write(self) -> None:
        if self._is_closed or not (encoded := self._unwritten.encode()):
            return
        if self._journal is None:
            self._journal = self._stack.enter_context(journal.Journal(self._path))
        self._journal.append(encoded)
        self._unwritten = FaultCounts()


@contextmanager
def record_faults(folder: Path) -> Iterator[None]:
    """Append each fault of a service to the folder's file while the context is open."""
    file = FaultJournal(folder)
    try:
        with collect_faults(file.append):
            yield
    except BaseException:
        with suppress(WriteError):  # the error that ends the command says more
            file.close()
        raise
    file.close()


def read_faults(folder: Path) -> dict[str, Any]:
    """Return the sum over all commands in the form of `FaultCounts.encode`; empty without any."""
    total = FaultCounts()
    for line in journal.read_records(folder / FAULTS_FILE):
        line.pop(PART_KEY, None)
        total.add(line)
    return total.encode()


def describe_faults(folder: Path) -> Iterator[str]:
    """Yield one line with the faults of each service, if there were any."""
    faults = read_faults(folder)
    if not faults:
        return
    services = "; ".join(_describe_service(name, counts) for name, counts in faults.items())
    yield f"faults of services: {services}"


def _describe_service(name: str, counts: Mapping[str, Any]) -> str:
    kinds = sorted(counts["kinds"].items(), key=lambda kind: (-kind[1], kind[0]))
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    given_up = f", {counts['given_up']:,} requests given up" if counts.get("given_up") else ""
    unused = sum(counts.get(tokens, 0) for tokens in UNUSED_TOKENS)
    tokens = f", {unused:,} tokens of unused answers" if unused else ""
    return f"{name} {sum(counts['kinds'].values()):,} ({listed}){given_up}{tokens}"
