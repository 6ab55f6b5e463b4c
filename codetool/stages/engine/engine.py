"""Protocols of engines: where the searches of a run happen, and how its tasks are handed out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from codetool.policies.recorded import CandidateRecord
from codetool.stages.evaluate.components import SearchJob
from codetool.stages.evaluate.run_recorder import RunRecorder
from codetool.tools.answer_counts import BrokerCounts
from codetool.types import Task


@dataclass(frozen=True)
class RunJob:
    """The tasks that a command has to search, and what records them."""

    search: SearchJob
    tasks: Sequence[Task]
    """Unfinished tasks in the order in which they begin."""
    known: Sequence[CandidateRecord]
    """Recorded candidates of these tasks."""
    recorder: RunRecorder
    find_stop: Callable[[], str | None]
    """Returns the limit of the run's budget that has been reached, None while all hold."""


class Engine(Protocol):
    """An open engine."""

    @property
    def in_force(self) -> Mapping[str, str]:
        """The layers of the sandbox, each with a short description."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """How often what has happened to the sandbox so far."""
        ...

    async def run(self) -> None:
        """Search and commit every task, or stop beginning tasks once the run's budget is spent.

        Raises WriteError if the run's files cannot be written.
        """
        ...

    def count_answers(self) -> BrokerCounts:
        """Return what the broker has answered so far."""
        ...


class EngineConfig:
    """Base of the settings of an engine (`engine.*`)."""

    def check(self) -> None:
        """Raise MissingError if something that the engine needs is not installed. Starts nothing."""

    def open(self, job: RunJob) -> AbstractAsyncContextManager[Engine]:
        """Open the components of searches. Raises MissingError, UnreachableError or SandboxError."""
        raise NotImplementedError
