"""Read and write `faults.jsonl`: the faults of services that a run met, one line per start of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codetool.http.fault_counts import UNUSED_TOKENS, FaultCounts, collect_faults
from codetool.runs import journal

FAULTS_FILE = "faults.jsonl"


@contextmanager
def record_faults(folder: Path) -> Iterator[None]:
    """Collect the faults of services while the context is open, and append them to the folder's file, if any."""
    with collect_faults() as counts:
        try:
            yield
        finally:
            if encoded := counts.encode():
                with journal.Journal(folder / FAULTS_FILE) as file:
                    file.append(encoded)


def read_faults(folder: Path) -> dict[str, Any]:
    """Return the sum over all starts in the form of `FaultCounts.encode`; empty without any."""
    total = FaultCounts()
    for line in journal.read_records(folder / FAULTS_FILE):
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
