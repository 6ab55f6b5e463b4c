"""Read and write `tools.jsonl`: the number of tool calls by answering source, one line per start of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codetool.runs import journal
from codetool.tools.answer_counts import AnswerCounts

COUNTS_FILE = "tools.jsonl"


def append_counts(folder: Path, summary: AnswerCounts) -> None:
    """Append the counts of this start to the folder's file, if any tool was called."""
    if summary.calls:
        with journal.Journal(folder / COUNTS_FILE) as counts:
            counts.append(asdict(summary))


def read_counts(folder: Path) -> dict[str, Any]:
    """Return the sum over all starts: `calls`, and by name `provenance`, `failures` and `cache`; empty without any."""
    lines = list(journal.read_records(folder / COUNTS_FILE))
    if not lines:
        return {}
    names = ("provenance", "failures", "cache")
    totals = {name: sum((Counter(line.get(name) or {}) for line in lines), Counter()) for name in names}
    return {"calls": sum(line["calls"] for line in lines)} | {
        name: dict(sorted(total.items())) for name, total in totals.items()
    }
