"""Checked answers for RestBench-TMDB, whose own data has none.

Each line of `data/tmdb/answers.jsonl` belongs to one query, by its index: a reference program in steps, its calls on
the embedded replica, and the answer. `answer` is what the program prints, or with `from`, what that code prints after
the program, such as all posters where the query asks for any. `also` lists further right answers: another legitimate
interpretation of the query, or another form of the answer. A query that no operation can answer has the reason instead.
After a change of the data `experiments/task_generator/regenerate_restbench.py` writes the answers again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from codetool.benchmarks.answer_checker.checker import matches
from codetool.types import Answer

ANSWERS_FILE = Path(__file__).parent / "data" / "tmdb" / "answers.jsonl"


@dataclass(frozen=True, slots=True)
class ReferenceAnswer:
    """The reference program of one query, its calls, and its right answers on the replica."""

    program: tuple[str, ...]
    """Python code of each step."""
    calls: tuple[str, ...]
    """Calls of the program, in order: `GET /search/movie?query=Titanic`."""
    answers: tuple[Answer, ...]
    """All right answers, the main one first; empty if no operation can answer the query."""

    @property
    def answer(self) -> Answer | None:
        """The main answer, which the task contains."""
        return self.answers[0] if self.answers else None

    def accepts(self, text: str | None, query: str = "") -> bool | None:
        """Return whether a final answer equals one of the right answers; None if no operation can answer the query."""
        return any(matches(answer, text, query) for answer in self.answers) if self.answers else None


@cache  # a constant of the package
def load_references() -> Mapping[str, ReferenceAnswer]:
    """Return the reference answer of each query by task id: `q0` … `q99`."""
    return {f"q{row['index']}": _parse_reference(row) for row in load_answer_rows()}


def load_answer_rows() -> Sequence[Mapping[str, Any]]:
    """Return the parsed lines of the answers file, in the order of the queries."""
    with ANSWERS_FILE.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _parse_reference(row: Mapping[str, Any]) -> ReferenceAnswer:
    entries = () if "unanswerable" in row else (row["answer"], *row.get("also", ()))
    answers = tuple(Answer(entry["type"], entry["value"]) for entry in entries)
    return ReferenceAnswer(tuple(row["program"]), tuple(row["calls"]), answers)
