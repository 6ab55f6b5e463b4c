"""Regenerate the answers and calls of `benchmark=tmdb` after a change of the replica's data or of a program.

Usage: python experiments/task_generator/regenerate_restbench.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from codetool.benchmarks.reference_answers import ANSWERS_FILE, load_answer_rows
from codetool.benchmarks.task_generator.replica_session import ReplicaSession, parse_answer, run_program

Row = Mapping[str, Any]


def checked(row: Row) -> Row:
    """Return the stored line with new answers and calls."""
    session = run_program(row["program"])
    found = {"program": row["program"], "calls": list(session.calls)}
    if "unanswerable" in row:
        return {"index": row["index"], "unanswerable": row["unanswerable"]} | found
    printed = session.printed
    answer, *also = (_reading(session, printed, entry) for entry in (row["answer"], *row.get("also", ())))
    return {"index": row["index"], "answer": answer} | ({"also": also} if also else {}) | found


def _reading(session: ReplicaSession, printed: str, entry: Row) -> Row:
    text = session.run(entry["from"]) if "from" in entry else printed
    return {**entry, "value": parse_answer(entry["type"], text)}


if __name__ == "__main__":
    lines = [json.dumps(checked(row), ensure_ascii=False) + "\n" for row in load_answer_rows()]
    ANSWERS_FILE.write_text("".join(lines), encoding="utf-8")
