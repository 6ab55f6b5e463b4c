"""How many tool calls a run made and who answered them: a line of `tools.jsonl` for each start of the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codetool.runs import journal
from codetool.tools.answer_counts import AnswerCounts

COUNTS_FILE = "tools.jsonl"


def append_counts(folder: Path, summary: AnswerCounts) -> None:
    """Add the counts of this start to the folder; nothing where no tool was called."""
    if summary.calls:
        with journal.Journal(folder / COUNTS_FILE) as counts:
            counts.append(asdict(summary))


def read_counts(folder: Path) -> dict[str, Any]:
    """The counts of all starts together: `calls`, and by name `provenance`, `failures`, `cache`; empty without any."""
    lines = list(journal.read_records(folder / COUNTS_FILE))
    if not lines:
        return {}
    names = ("provenance", "failures", "cache")
    totals = {name: sum((Counter(line.get(name) or {}) for line in lines), Counter()) for name in names}
    return {"calls": sum(line["calls"] for line in lines)} | {
        name: dict(sorted(total.items())) for name, total in totals.items()
    }
