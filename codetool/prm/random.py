"""A PRM of seeded uniform random scores: the baseline that every trained PRM has to beat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.interfaces import ModelServers
from codetool.model_types import Scores
from codetool.runs.seeding import draw_uniform
from codetool.types import Execution, Node, Step, Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RandomPRM:
    """Uniform latent rewards, each determined by the seed, the task, the steps before and the step to score."""

    seed: int
    """Seed of the numbers."""

    @property
    def sees_observation(self) -> bool:
        """False: it sees nothing."""
        return False

    def checksum(self) -> None:
        """None: there are no files."""

    def weights(self) -> None:
        """None: nothing is served."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[Self]:
        """This object: it holds nothing that needs opening."""
        yield self

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """A number in [0, 1) for each candidate, the same whenever and beside whatever it is asked for."""
        before = [node.step.text for node in path if node.step]
        return Scores(tuple(draw_uniform(self.seed, "latent", task.id, *before, step.text) for step in candidates))
