"""A PRM of several PRMs: each scores every step, and the latent reward is the mean or the minimum of their scores.

Members are options of `prm=` of any kind; they are chosen on the command line like every other option:

    prm=ensemble +prm@prm.members.second=random

Tokens of all members add up. Members that score steps before they run and members that read outputs can be mixed: all
are then asked after the steps have run, and only the latter see the outputs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, InstanceOf, field_validator
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError
from codetool.interfaces import ModelServers, Priced, PRMOption, ProcessRewardModel
from codetool.model_types import Scores, Weights
from codetool.prm.none import NoPRM
from codetool.prm.oracle import OraclePRM
from codetool.prm.random import RandomPRM
from codetool.types import Execution, Node, Step, Task

MODEL_FREE = (NoPRM, OraclePRM, RandomPRM)
"""PRMs without a model, which read no tokens."""
Combine = Literal["mean", "min"]
COMBINE: Mapping[Combine, Callable[[Sequence[float]], float]] = {
    "mean": lambda scores: sum(scores) / len(scores),
    "min": min,
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EnsemblePRMConfig:
    """Settings of an ensemble of PRMs."""

    members: Annotated[Mapping[str, InstanceOf[PRMOption]], Field(min_length=1)]
    """The options of the members by a name that is used on the command line only."""
    combine: Combine
    """How the scores of a step are combined. `mean`: their mean. `min`: the lowest, so that all members must agree."""

    @field_validator("members")
    @classmethod
    def _refuse_none(cls, members: Mapping[str, PRMOption]) -> Mapping[str, PRMOption]:
        for name, member in members.items():
            if isinstance(member, NoPRM):
                raise ValueError(
                    f"the member {name} scores nothing. Choose another option, prm@prm.members.{name}=smollm2, or "
                    "leave the member out"
                )
        return members

    def checksum(self) -> str | None:
        """Return the hex sha256 of the members' checksums in their order; None if no member has one."""
        checksums: list[str | None] = []
        for name, member in self.members.items():
            with _name_member(name):
                checksums.append(member.checksum())
        return hashlib.sha256(str(checksums).encode()).hexdigest() if any(checksums) else None

    def weights(self) -> Weights | None:
        """Return the weights that the first member on the run's own vLLM server needs; None if no member needs one.

        `list_weights` gives those of all members.
        """
        return next((found for member in self.members.values() if (found := member.weights()) is not None), None)

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the members' tokens in USD; None unless all members with a model have the same price."""
        prices = {
            member.usd(tokens_in, tokens_out) if isinstance(member, Priced) else None for member in list_models(self)
        }
        return prices.pop() if len(prices) == 1 else None

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[EnsemblePRM]:
        """Open all members, and yield the PRM. Raises ConfigError for a member that is no PRM, and what they raise."""
        async with AsyncExitStack() as stack:
            members: list[ProcessRewardModel] = []
            for name, option in self.members.items():
                with _name_member(name):
                    member = await stack.enter_async_context(option.open(servers))
                if member is None:
                    raise ConfigError(
                        f"prm.members.{name} scores nothing. Choose another option, "
                        f"prm@prm.members.{name}=smollm2, or leave the member out."
                    )
                members.append(member)
            yield EnsemblePRM(members, self.combine)


@contextmanager
def _name_member(name: str) -> Iterator[None]:
    """Let messages about a member's settings name those of the ensemble: `prm.members.NAME.path` for `prm.path`."""
    try:
        yield
    except CodeToolError as error:
        error.args = (re.sub(r"\bprm\.(?=[a-z_])", f"prm.members.{name}.", str(error)),)
        raise


class EnsemblePRM:
    """An open ensemble of PRMs."""

    def __init__(self, members: Sequence[ProcessRewardModel], combine: Combine) -> None:
        """Store the open members, at least one, and how their scores are combined."""
        self._members, self._combine = members, COMBINE[combine]

    @property
    def sees_observation(self) -> bool:
        """Whether a member reads the output of the step that it scores."""
        return any(member.sees_observation for member in self._members)

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the combined score of each candidate; the tokens are those of all members."""
        scores = await gather_or_cancel(
            member.score(task, path, candidates, executions if member.sees_observation else ())
            for member in self._members
        )
        values = zip(*(each.values for each in scores), strict=True)
        return Scores(
            tuple(map(self._combine, values)),
            sum(each.tokens for each in scores),
            sum(each.tokens_computed for each in scores),
        )


def list_members(option: PRMOption) -> list[PRMOption]:
    """Return the members of an ensemble, also of ensembles in it; any other PRM is its own only member."""
    if not isinstance(option, EnsemblePRMConfig):
        return [option]
    return [part for member in option.members.values() for part in list_members(member)]


def list_models(option: PRMOption) -> list[PRMOption]:
    """Return the members of a PRM that have a model; a PRM that is no ensemble is its own only member."""
    return [member for member in list_members(option) if not isinstance(member, MODEL_FREE)]


def list_weights(option: PRMOption) -> list[Weights]:
    """Return the weights that the run's own vLLM servers have to serve for a PRM and all its members."""
    return [found for member in list_members(option) if (found := member.weights()) is not None]
