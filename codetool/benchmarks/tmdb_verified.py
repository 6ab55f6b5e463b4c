"""`benchmark=tmdb_verified`: film queries of this project with typed, checked answers.

`data/tmdb_verified/tasks.jsonl` holds, a line a task: the query, the tools offered, the gold endpoints, a reference
program in steps and the answer that it prints on the embedded replica. A test runs every program and compares; after a
change of the replica's data `python tests/benchmarks/reference.py` writes answers and gold paths anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.benchmarks.checker import matches
from codetool.benchmarks.openapi import tools
from codetool.types import Answer, Task, Tool

PREAMBLE = 'headers = {"accept": "application/json"}\n'
FOLDER = Path(__file__).parent / "data" / "tmdb_verified"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDBVerified:
    """Settings of the verified film queries."""

    split: Literal["tour", "dev"]
    """`tour`: a handful of short tasks out of `dev`; `dev`: all tasks."""
    observation: int
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """The split's tasks in the order of the file."""
        offered = {tool.endpoint: tool for tool in tools(json.loads((FOLDER / "openapi.json").read_bytes()))}
        return [_task(row, offered) for row in rows() if self.split == "dev" or row["tour"]]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Whether the final answer says what the reference program found."""
        return None if task.answer is None else matches(task.answer, answer)

    def checksum(self) -> str:
        """Hex sha256 over the tasks and the tool documents."""
        files = (FOLDER / name for name in ("tasks.jsonl", "openapi.json"))
        return sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def rows() -> Sequence[Mapping[str, Any]]:
    """The stored tasks with their reference programs."""
    with (FOLDER / "tasks.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _task(row: Mapping[str, Any], offered: Mapping[str, Tool]) -> Task:
    return Task(
        id=row["id"],
        query=row["query"],
        tools=tuple(offered[endpoint] for endpoint in row["tools"]),
        gold=tuple(row["gold"]),
        answer=Answer(row["answer"]["type"], row["answer"]["value"]),
        preamble=PREAMBLE,
    )
