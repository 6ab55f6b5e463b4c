"""`benchmark=tmdb_verified`: film queries made for this project, with typed and checked answers.

`data/tmdb_verified/` has one file per split with one task per line: query, template, tools offered, gold path,
reference program in steps, and the answer that the program prints on the embedded replica. No film, person or other
subject of train occurs in dev or test. `codetool.benchmarks.task_generator.generate` writes the files; a test compares.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.openapi import parse_tools
from codetool.errors import MissingError
from codetool.runs.bounded_input import parse_json, read_bytes
from codetool.runs.operational import Checksummed
from codetool.types import Answer, Task, Tool

PREAMBLE = 'headers = {"accept": "application/json"}\n'
FOLDER = Path(__file__).parent / "data" / "tmdb_verified"
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDBVerified:
    """Settings of the verified film queries."""

    split: Literal["tour", "train", "dev", "test"]
    """`tour`: six short tasks of `dev`. The other splits share no subject with each other."""
    train: Annotated[Path | None, Checksummed]
    """File with more train tasks for split `train`; `codetool.benchmarks.task_generator.generate` writes it."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """Return the split's tasks in the order of the file, which mixes templates. Raises MissingError without it."""
        return [_parse_task(row, read_tools()) for row in load_rows(self._file) if self.split != "tour" or row["tour"]]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the final answer equals the one of the reference program."""
        return None if task.answer is None else matches(task.answer, answer, task.query)

    def checksum(self) -> str:
        """Return the hex sha256 over the split's file and the tool documents."""
        return sha256(
            b"".join(sha256(_read_bytes(file)).digest() for file in (self._file, self._documents))
        ).hexdigest()

    @field_validator("train", mode="before")
    @classmethod
    def _empty_is_unset(cls, train: Any) -> Any:
        return train or None

    @model_validator(mode="after")
    def _validate_split(self) -> TMDBVerified:
        if self.train and self.split != "train":
            raise ValueError(f"benchmark.train={self.train} goes with benchmark.split=train, not {self.split}")
        return self

    @property
    def _file(self) -> Path:
        return self.train or FOLDER / f"{'dev' if self.split == 'tour' else self.split}.jsonl"

    @property
    def _documents(self) -> Path:
        return FOLDER / "openapi.json"


@cache
def read_tools() -> Mapping[str, Tool]:
    """Return the tools of the shipped document by endpoint."""
    return {tool.endpoint: tool for tool in parse_tools(json.loads((FOLDER / "openapi.json").read_bytes()))}


def load_all_rows() -> Sequence[Mapping[str, Any]]:
    """Return the stored rows of all splits."""
    return [row for split in SPLITS for row in load_rows(FOLDER / f"{split}.jsonl")]


def load_rows(file: Path) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a file. Raises MissingError if it is missing or a line is no task."""
    rows = []
    for number, line in enumerate(_read_bytes(file).decode().splitlines(), start=1):
        try:
            row = parse_json(line)
            _parse_task(row, defaultdict(lambda: Tool("", "", "", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise MissingError(f"benchmark=tmdb_verified: {file} line {number} is no task ({error!r})") from error
        rows.append(row)
    if not rows:
        raise MissingError(f"benchmark=tmdb_verified: {file} holds no task")
    return rows


def _read_bytes(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        make = "python -m codetool.benchmarks.task_generator.generate --train 5000 --out FILE"
        raise MissingError(
            f"benchmark.train={file} cannot be read ({error.strerror}). Make such a file with: {make}"
        ) from error


def _parse_task(row: Mapping[str, Any], offered: Mapping[str, Tool]) -> Task:
    return Task(
        id=row["id"],
        query=row["query"],
        tools=tuple(offered[endpoint] for endpoint in row["tools"]),
        gold=tuple(row["gold"]),
        gold_calls=tuple(row["calls"]),
        answer=Answer(row["answer"]["type"], row["answer"]["value"]),
        preamble=PREAMBLE,
        template=row["template"],
    )
