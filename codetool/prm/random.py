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
    """A PRM with uniform random scores, determined by the seed, the task, the path and the step to score."""

    seed: int
    """Seed of the scores."""

    @property
    def sees_observation(self) -> bool:
        """False: it does not look at the output of a step."""
        return False

    def checksum(self) -> None:
        """None: there are no files."""

    def weights(self) -> None:
        """None: nothing is served."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[Self]:
        """Yield this object; there is nothing to open."""
        yield self

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return a number in [0, 1) for each candidate, which does not depend on the other candidates or the time."""
        path_texts = [node.step.text for node in path if node.step]
        return Scores(tuple(draw_uniform(self.seed, "latent", task.id, *path_texts, step.text) for step in candidates))
