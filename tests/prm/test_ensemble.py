"""An ensemble combines the scores of PRMs of every kind, and their tokens add up."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from composing import compose_config

from codetool.errors import ConfigError, MissingError
from codetool.interfaces import PRMOption
from codetool.model_types import Scores
from codetool.prm.ensemble import EnsemblePRMConfig, list_members, list_models
from codetool.prm.random import RandomPRM
from codetool.types import Execution, Step, Task

STEPS = [Step("a", "1", False), Step("b", "2", False)]
RAN = [Execution("ok", "1"), Execution("ok", "2")]
TASK = Task("t1", "who?", ())


@dataclass
class Fixed:
    """A PRM with given scores, 5 tokens each."""

    values: Sequence[float]
    sees_observation: bool = False
    price: float | None = None
    shown: list[Sequence[Execution]] = field(default_factory=list)

    def checksum(self) -> str:
        return str(self.values)

    def weights(self) -> None:
        return None

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        return self.price

    @asynccontextmanager
    async def open(self, servers: Any) -> Any:
        yield self

    async def score(self, task: Any, path: Any, candidates: Any, executions: Any = ()) -> Scores:
        self.shown.append(executions)
        return Scores(tuple(self.values), 5, 2)


async def scored(*members: Any, combine: str = "mean", executions: Any = ()) -> Scores:
    named = {str(place): member for place, member in enumerate(members)}
    async with EnsemblePRMConfig(members=named, combine=combine).open(None) as prm:  # type: ignore[arg-type]
        assert prm.sees_observation == any(member.sees_observation for member in members)
        return await prm.score(TASK, (), STEPS, executions)


async def test_scores_are_combined_and_tokens_add_up() -> None:
    members = Fixed([0.2, 0.8]), Fixed([0.6, 0.4])
    assert (await scored(*members)).values == pytest.approx((0.4, 0.6))
    lowest = await scored(*members, combine="min")
    assert (lowest.values, lowest.tokens, lowest.tokens_computed) == ((0.2, 0.4), 10, 4)
    assert await scored(members[0]) == Scores((0.2, 0.8), 5, 2)


async def test_a_member_that_leaves_out_a_candidate_fails() -> None:
    with pytest.raises(ValueError, match="shorter"):
        await scored(Fixed([0.2, 0.8]), Fixed([0.6]))


async def test_only_members_that_read_outputs_see_them() -> None:
    blind, seeing = Fixed([0.1, 0.2]), Fixed([0.3, 0.4], sees_observation=True)
    await scored(blind, seeing, executions=RAN)
    assert (blind.shown, seeing.shown) == ([()], [RAN])


async def test_a_random_member_scores_as_it_does_alone() -> None:
    alone = await RandomPRM(seed=3).score(TASK, (), STEPS)
    both = await scored(RandomPRM(seed=3), Fixed([0.0, 0.0]), combine="min")
    assert both.values == (0.0, 0.0)
    assert (await scored(RandomPRM(seed=3), RandomPRM(seed=3))).values == pytest.approx(alone.values)


async def test_messages_name_the_settings_of_the_member() -> None:
    config, _ = compose_config("prm=ensemble", "prm.members.first.path=nowhere", "+prm@prm.members.second=random")
    with pytest.raises(MissingError, match=r"^prm\.members\.first\.path=nowhere is no folder"):
        config.prm.checksum()
    outer = EnsemblePRMConfig(members={"a": RandomPRM(seed=0), "b": config.prm}, combine="mean")
    with pytest.raises(MissingError, match=r"^prm\.members\.b\.members\.first\.path=nowhere is no folder"):
        async with outer.open(None):  # type: ignore[arg-type]
            pass


async def test_a_member_that_scores_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^prm\.members: the member other scores nothing"):
        compose_config("prm=ensemble", "+prm@prm.members.other=none")

    class Nothing(Fixed):
        @asynccontextmanager
        async def open(self, servers: Any) -> Any:
            yield None

    option = EnsemblePRMConfig(members={"first": RandomPRM(seed=0), "other": Nothing([])}, combine="mean")
    with pytest.raises(ConfigError, match=r"prm\.members\.other scores nothing"):
        async with option.open(None):  # type: ignore[arg-type]
            pass


def test_checksum_price_and_members_are_those_of_all() -> None:
    first, second = Fixed([0.1], price=2.0), Fixed([0.2], price=2.0)
    option = EnsemblePRMConfig(members={"a": first, "b": second}, combine="mean")
    assert isinstance(option, PRMOption)
    assert option.usd(1, 1) == 2.0 and option.weights() is None
    assert option.checksum() != EnsemblePRMConfig(members={"a": second, "b": first}, combine="mean").checksum()
    assert EnsemblePRMConfig(members={"a": RandomPRM(seed=0)}, combine="mean").checksum() is None
    mixed = EnsemblePRMConfig(members={"a": first, "b": RandomPRM(seed=0)}, combine="mean")
    assert mixed.usd(1, 1) == 2.0  # the random member reads no tokens
    free = EnsemblePRMConfig(members={"a": RandomPRM(seed=0)}, combine="mean")
    assert free.usd(1, 1) is None and list_models(free) == []
    other = EnsemblePRMConfig(members={"a": first, "b": Fixed([0.2], price=3.0)}, combine="mean")
    assert other.usd(1, 1) is None
    assert list_members(EnsemblePRMConfig(members={"x": option, "y": mixed}, combine="min")) == [
        first, second, first, RandomPRM(seed=0)
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["random", "oracle", "pairwise", "qwen7b", "smollm2"])
def test_every_kind_can_be_chosen_as_a_member(member: str) -> None:
    config, choices = compose_config("prm=ensemble", f"+prm@prm.members.second={member}")
    assert [*config.prm.members] == ["first", "second"]
    assert all(isinstance(option, PRMOption) for option in config.prm.members.values())
    assert choices["prm@prm.members.second"] == member
