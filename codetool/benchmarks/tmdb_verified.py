"""`benchmark=tmdb_verified`: film queries of this project with typed, checked answers.

`data/tmdb_verified/` holds a file a split and, a line a task: the query, its template, the tools offered, the gold
path, a reference program in steps and the answer that it prints on the embedded replica. No film, person or other
subject of train occurs in dev or test. `codetool.benchmarks.task_generator.generate` writes the files; a test compares.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.openapi import tools
from codetool.errors import MissingError
from codetool.runs.operational import Checksummed
from codetool.types import Answer, Task, Tool

PREAMBLE = 'headers = {"accept": "application/json"}\n'
FOLDER = Path(__file__).parent / "data" / "tmdb_verified"
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDBVerified:
    """Settings of the verified film queries."""

    split: Literal["tour", "train", "dev", "test"]
    """`tour`: six short tasks out of `dev`; the others share no subject with each other."""
    train: Annotated[Path | None, Checksummed]
    """File of more train tasks, by `codetool.benchmarks.task_generator.generate --train`; only with split `train`."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """The split's tasks in the order of the file, a mixture of all templates. Raises MissingError without it."""
        offered = {tool.endpoint: tool for tool in tools(json.loads((FOLDER / "openapi.json").read_bytes()))}
        return [_task(row, offered) for row in read(self._file) if self.split != "tour" or row["tour"]]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Whether the final answer says what the reference program found."""
        return None if task.answer is None else matches(task.answer, answer, task.query)

    def checksum(self) -> str:
        """Hex sha256 over the split's file and the tool documents."""
        return sha256(b"".join(sha256(_content(file)).digest() for file in (self._file, self._documents))).hexdigest()

    @field_validator("train", mode="before")
    @classmethod
    def _empty_is_unset(cls, train: Any) -> Any:
        return train or None

    @model_validator(mode="after")
    def _train_is_for_train(self) -> TMDBVerified:
        if self.train and self.split != "train":
            raise ValueError(f"benchmark.train={self.train} goes with benchmark.split=train, not {self.split}")
        return self

    @property
    def _file(self) -> Path:
        return self.train or FOLDER / f"{'dev' if self.split == 'tour' else self.split}.jsonl"

    @property
    def _documents(self) -> Path:
        return FOLDER / "openapi.json"


def rows() -> Sequence[Mapping[str, Any]]:
    """The stored tasks of all splits with their reference programs."""
    return [row for split in SPLITS for row in read(FOLDER / f"{split}.jsonl")]


def read(file: Path) -> Sequence[Mapping[str, Any]]:
    """The tasks of a file. Raises MissingError if it is not there or a line is no task."""
    found = []
    for number, line in enumerate(_content(file).decode().splitlines(), start=1):
        try:
            row = json.loads(line)
            _task(row, defaultdict(lambda: Tool("", "", "", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise MissingError(f"benchmark=tmdb_verified: {file} line {number} is no task ({error!r})") from error
        found.append(row)
    if not found:
        raise MissingError(f"benchmark=tmdb_verified: {file} holds no task")
    return found


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        make = "python -m codetool.benchmarks.task_generator.generate --train 5000 --out FILE"
        raise MissingError(
            f"benchmark.train={file} cannot be read ({error.strerror}). Make such a file with: {make}"
        ) from error


def _task(row: Mapping[str, Any], offered: Mapping[str, Tool]) -> Task:
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
