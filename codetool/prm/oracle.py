"""A PRM that knows the gold path and the right answer: an upper bound for trained PRMs, and a test of the search.

An unfinished path scores 1 as long as its answered tool calls follow the gold path (see
`codetool.tool_calls.gold_path`), and a finished path scores 1 if its answer is correct; otherwise the score is 0. Only
calls count: a step without calls, or a failed one, keeps the score of the calls before it; the spot reward covers its
failure. A finished path whose answer cannot be checked scores 1 if it made all gold calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.answers.final_answer import extract_path_answer
from codetool.concurrency import call_in_thread
from codetool.errors import CheckTimeoutError, ConfigError
from codetool.interfaces import Benchmark, ModelServers
from codetool.interfaces.evaluation import CHECK_SECONDS
from codetool.model_types import Scores
from codetool.runs.operational import Operational
from codetool.tool_calls.gold_path import remaining_gold_calls
from codetool.types import Execution, Node, Step, Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class OraclePRM:
    """A PRM whose scores, 1 or 0, are computed from the gold path and the answer check."""

    benchmark: Annotated[Benchmark, Operational]
    """The benchmark of the run, which checks answers."""

    @property
    def sees_observation(self) -> bool:
        """True: it scores executed steps, which is an extension of the method."""
        return True

    def checksum(self) -> None:
        """None: its knowledge is the benchmark's, whose checksum is already part of a result's identity."""

    def weights(self) -> None:
        """None: nothing is served."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[Self]:
        """Yield this object. Raises ConfigError if no task of the benchmark has a gold path."""
        tasks = await asyncio.to_thread(self.benchmark.tasks)
        if tasks and not any(task.gold or task.gold_calls for task in tasks):
            raise _no_gold_error(tasks[0])
        yield self

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return 1.0 or 0.0 for each candidate.

        Raises ConfigError for a task without a gold path, and if the candidates have not been executed.
        """
        if not (task.gold or task.gold_calls):
            raise _no_gold_error(task)
        if len(executions) != len(candidates):
            raise ConfigError(
                f"prm=oracle judges what steps did, and those of task {task.id} were not run. It is for searches; "
                "choose another prm= here."
            )
        ends = [
            Node(id=task.id, depth=len(path) + 1, step=step, execution=execution)
            for step, execution in zip(candidates, executions, strict=True)
        ]
        try:
            return await call_in_thread(
                lambda: Scores(tuple(float(self._is_on_gold_path(task, [*path, end])) for end in ends)), CHECK_SECONDS
            )
        except TimeoutError as error:
            raise CheckTimeoutError(type(self.benchmark).__name__, CHECK_SECONDS) from error

    def _is_on_gold_path(self, task: Task, path: Sequence[Node]) -> bool:
        finished = path[-1].finished
        is_correct = self.benchmark.check(task, extract_path_answer(path[-1])) if finished else None
        if is_correct is not None:
            return is_correct
        calls_left = remaining_gold_calls(
            task, (call for node in path if node.execution for call in node.execution.calls)
        )
        return calls_left == 0 if finished else calls_left is not None


def _no_gold_error(task: Task) -> ConfigError:
    return ConfigError(
        f"prm=oracle needs to know the gold path, and task {task.id} has none (neither gold nor gold_calls). "
        "Choose another prm=, or a benchmark= with gold paths."
    )
