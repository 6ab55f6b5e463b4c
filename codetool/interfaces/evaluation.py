"""Protocols of what a run measures: benchmarks, final answers, judges of answers, and uploads of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from codetool.interfaces.models import Prompt
from codetool.model_types import Sampling
from codetool.types import Task

CHECK_SECONDS = 60.0
"""Maximum time in seconds that a benchmark's check may take."""


@runtime_checkable
class Benchmark(Protocol):
    """Set of tasks with an answer checker."""

    def tasks(self) -> Sequence[Task]:
        """Return all tasks in benchmark order. Raises MissingError if the data is not there."""
        ...

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the final answer is right, None where the task has no checked answer.

        It is called in a thread, one call at a time, and has `CHECK_SECONDS`.
        """
        ...

    def checksum(self) -> str:
        """Return the hex sha256 of the data that the tasks are made from; it is part of a result's identity."""
        ...


class Judge(Protocol):
    """Settings of a judge of final answers. `codetool.judges` defines its inputs, vote requests and verdicts."""

    @property
    def model(self) -> str | None:
        """Name of the model that judges."""
        ...

    @property
    def max_tokens(self) -> int:
        """Maximum number of new tokens of one vote."""
        ...

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the tokens in USD, None without prices."""
        ...

    def build_vote_settings(self, seed: int) -> Any:
        """Return the settings of every vote, part of its key in the journal. Raises ConfigError without a model."""
        ...

    async def probe(self) -> None:
        """Check that the judge answers. Raises ConfigError, MissingError or UnreachableError."""
        ...

    def build_vote_requests(self, case: Any) -> list[Any]:
        """Return the vote requests for one answer."""
        ...

    async def judge(self, cases: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """Return the judgement of each answer; votes in the journal `file` are not requested again."""
        ...

    def build_comparison_requests(self, pair: Any, judged: Any) -> list[Any]:
        """Return the vote requests for the comparison of two answers."""
        ...

    async def compare(self, pairs: Any, judgements: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """Return the judgement of each pair of answers."""
        ...


class AnswerOption(Protocol):
    """Settings of a final answer that a model composes: the option's own if it is a PolicyOption, else the policy."""

    @property
    def prompt(self) -> Prompt:
        """Format of the model's input and output."""
        ...

    @property
    def sampling(self) -> Sampling:
        """Sampling settings of the answer."""
        ...


@runtime_checkable
class PrintedAnswer(Protocol):
    """Settings of a final answer that no model composes: the output of the path's last step."""

    @property
    def unfinished(self) -> str:
        """Answer of a path that is not finished: `none`, or `last_printed` for the last step's output."""
        ...


class LoggerOption(Protocol):
    """Settings of a place where runs are logged besides their folder, such as W&B."""

    def start(self, run: Any) -> Any:
        """Start to log a run, a `RunInfo`. Returns its `RunLogger`; both are in `codetool.tracking`."""
        ...


class LightningLogger(Protocol):
    """What a run calls of a logger of Lightning, which serves every stage."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log metrics at a step."""
        ...

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Log the settings of the run."""
        ...

    def finalize(self, status: str) -> None:
        """End with `success` or `failed`."""
        ...
