"""The checked answers of RestBench-TMDB, which has none of its own.

`data/tmdb/answers.jsonl` holds, a line a query and named by its index: a reference program in steps, the calls that it
makes on the embedded replica, and the answer. `answer` is what the program prints; where it has `from`, it is what that
code prints after the program, for example every poster where the query asks for one. `also` holds further answers that
are right: another legitimate reading of the query, or another way to write the answer. A query that no operation
answers has the reason instead. After a change of the data `experiments/task_generator/regenerate_restbench.py` writes
the answers again.
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

FILE = Path(__file__).parent / "data" / "tmdb" / "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Reference:
    """How one query is answered on the replica."""

    program: tuple[str, ...]
    """Steps of Python."""
    calls: tuple[str, ...]
    """What the program asks for, in order: `GET /search/movie?query=Titanic`."""
    answers: tuple[Answer, ...]
    """The answer and what else is right; empty where no operation answers the query."""

    @property
    def answer(self) -> Answer | None:
        """The answer that a task carries."""
        return self.answers[0] if self.answers else None

    def accepts(self, text: str | None, query: str = "") -> bool | None:
        """Whether a final answer to the query is right in one of the readings; None where nothing answers it."""
        return any(matches(answer, text, query) for answer in self.answers) if self.answers else None


@cache  # a constant of the package
def references() -> Mapping[str, Reference]:
    """The reference of each query by its task's id: `q0` … `q99`."""
    return {f"q{row['index']}": _reference(row) for row in rows()}


def rows() -> Sequence[Mapping[str, Any]]:
    """The stored lines in the order of the queries."""
    with FILE.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _reference(row: Mapping[str, Any]) -> Reference:
    known = () if "unanswerable" in row else (row["answer"], *row.get("also", ()))
    answers = tuple(Answer(entry["type"], entry["value"]) for entry in known)
    return Reference(tuple(row["program"]), tuple(row["calls"]), answers)
