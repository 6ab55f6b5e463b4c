"""What each strategy chooses, and what it pays for the choice."""

import asyncio

import pytest
from search_world import ScriptedPolicy, TextPRM, fans, search, step

from codetool.rewards.codetool import StepReward
from codetool.search.beam import Beam
from codetool.search.best_of_n import BestOfN
from codetool.search.chain import Chain
from codetool.search.exhaustive import Exhaustive
from codetool.search.greedy import Greedy


def rise(path, index):
    """Two ways: `up…` looks bad at first and pays later, `down…` the other way round; both finish at depth 3."""
    name = ("down", "up")[index % 2] if not path else path[-1] + str(index)
    return step(name, finished=len(path) == 2)


RISE = {"down": 0.6, "up": 0.5, "down0": 0.1, "down1": 0.1, "up0": 0.9, "up1": 0.8, "up00": 0.2, "up01": 0.3}
RISE |= {"down00": 0.0, "down01": 0.0, "down10": 0.0, "down11": 0.0, "up10": 0.0, "up11": 0.0}


async def test_chain_draws_one_candidate_a_step():
    policy = ScriptedPolicy(fans)
    result = await search(Chain(depth=5, temperature=0.0), policy)
    assert [n for *_, n in policy.asked] == [1, 1, 1]
    assert result.best.id == "1-1-1"


async def test_greedy_follows_the_best_of_each_step():
    result = await search(Greedy(n=2, depth=5), rise, prm=TextPRM(**RISE))
    assert [node.step.text for node in result.best.path][0] == "down"
    assert len(result.nodes) == 1 + 3 * 2


async def test_greedy_is_a_beam_of_width_one():
    for seed in range(5):
        greedy = await search(Greedy(n=3, depth=5), fans, seed=seed)
        beam = await search(Beam(width=1, n=3, depth=5), fans, seed=seed)
        assert greedy == beam


async def test_greedy_returns_a_finished_step_it_passed_over_rather_than_nothing():
    def script(path, index):
        return step("end", finished=True) if index == 1 else step(f"on{len(path)}")

    result = await search(Greedy(n=2, depth=2), script, prm=TextPRM(end=0.1, on0=0.9, on1=0.9))
    assert result.best.finished


async def test_beam_keeps_what_looks_second_best_and_pays_later():
    result = await search(Beam(width=2, n=2, depth=5), rise, prm=TextPRM(**RISE))
    assert [node.step.text for node in result.best.path] == ["up", "up0", "up01"]


async def test_beam_chooses_by_the_rewards_of_the_steps_it_paid_for():
    """The survivors are selected after their children are scored: the last step's reward decides, not its parent's."""
    prm = TextPRM(**{"0": 0.9, "1": 0.8, "0.0": 0.0, "0.1": 0.0, "1.0": 0.7, "1.1": 0.0})
    result = await search(Beam(width=2, n=2, depth=2), fans, prm=prm)
    assert result.best.step.text == "1.0"


async def test_beam_width_and_n_bound_what_is_asked():
    policy = ScriptedPolicy(lambda path, index: step(".".join([*path[-1:], str(index)])))
    result = await search(Beam(width=3, n=4, depth=4), policy)
    assert [len(path) for _, path, *_ in policy.asked] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert result.ledger.executions == 4 + 3 * 12


async def test_beam_lets_finished_paths_compete_with_longer_ones():
    def script(path, index):
        return step("short", finished=True) if not path and index == 0 else step(f"long{len(path)}{index}", "1/0")

    result = await search(Beam(width=2, n=2, depth=4), script)
    assert result.best.step.text == "short"


async def test_beam_finds_a_finished_path_that_longer_ones_pushed_out():
    def script(path, index):
        return step("short", "1/0", finished=True) if not path and index == 0 else step(f"long{len(path)}{index}")

    result = await search(Beam(width=1, n=2, depth=4), script)
    assert (result.best.step.text, result.best.finished) == ("short", True)


async def test_beam_goes_on_with_the_others_when_one_has_no_children():
    def script(path, index):
        return None if path[:1] == ("0",) else fans(path, index)

    result = await search(Beam(width=2, n=2, depth=5), script, prm=TextPRM(**{"0": 1.0}))
    assert result.best.finished
    assert result.best.path[0].step.text == "1"


@pytest.mark.parametrize(
    ("aggregate", "expected"), [("sum", "a1"), ("mean", "b"), ("min", "b"), ("last", "a1"), ("product", "b")]
)
async def test_the_chosen_aggregation_decides(aggregate, expected):
    def script(path, index):
        return (step("a"), step("b", finished=True))[index] if not path else step("a1", finished=True)

    reward = StepReward(spot=0.0, latent=1.0, aggregate=aggregate)
    result = await search(Exhaustive(n=2, depth=2), script, prm=TextPRM(a=0.2, a1=0.8, b=0.7), reward=reward)
    assert result.best.step.text == expected


async def test_exhaustive_grows_the_whole_tree():
    result = await search(Exhaustive(n=2, depth=5), lambda path, index: step(".".join([*path[-1:], str(index)])))
    assert len(result.nodes) == 1 + 62
    result = await search(Exhaustive(n=2, depth=5), rise, prm=TextPRM(**RISE))
    assert result.best.step.text == "up01"


@pytest.mark.parametrize(("failures", "nodes"), [(None, 62), (2, 2 + 4 + 6 + 8 + 10), (1, 10)])
async def test_exhaustive_gives_up_paths_that_keep_failing(failures, nodes):
    """Every second step fails. A path of k steps is grown while fewer than `failures` of them have failed."""

    def script(path, index):
        return step(f"{len(path)}{index}", "HANG" if index else "")

    strategy = Exhaustive(n=2, depth=5, failures=failures)
    result = await search(strategy, script)
    assert len(result.nodes) == 1 + nodes
    assert sum(strategy.is_abandoned(node) for node in result.nodes) == sum(
        sum(step.execution.status == "timeout" for step in node.path) == failures for node in result.nodes
    )


async def test_ten_siblings_are_ten_paths():
    """`1-10` is not below `1-1`, and places sort as numbers."""
    result = await search(Exhaustive(n=11, depth=2), fans)
    assert [node.id for node in result.nodes[:12]] == ["0", *map(str, range(1, 12))]
    assert [node.id for node in result.nodes if node.parent and node.parent.id == "1"] == [
        f"1-{place}" for place in range(1, 12)
    ]


async def test_best_of_n_draws_n_chains_through_merged_steps():
    """Four draws, three of them the same first step: that one is followed by three draws, the other by one."""

    def script(path, index):
        return step("odd" if index == 3 else "same") if not path else step(f"{path[-1]}{index}", finished=True)

    policy = ScriptedPolicy(script)
    result = await search(BestOfN(n=4, depth=5), policy)
    assert {(path, n) for _, path, _, n in policy.asked} == {((), 4), (("same",), 3), (("odd",), 1)}
    assert sum(node.multiplicity for node in result.nodes if node.finished) == 4


async def test_best_of_n_keeps_the_best_finished_chain():
    def script(path, index):
        if not path:
            return step("ab"[index])
        return step(f"{path[-1]}!", finished=path[-1] == "a")

    result = await search(BestOfN(n=2, depth=2), script, prm=TextPRM(**{"a": 0.1, "b": 0.9}))
    assert result.best.step.text == "a!"


@pytest.mark.parametrize("strategy", [BestOfN(n=3, depth=3), Exhaustive(n=3, depth=3)], ids=["best_of_n", "exhaustive"])
async def test_no_path_waits_for_another_at_its_depth(strategy):
    done = asyncio.Event()

    class Slow(ScriptedPolicy):
        async def propose(self, task, path, n, *, first=0, seed=0, tried=()):
            if [node.id for node in path] == ["1"]:
                await asyncio.wait_for(done.wait(), 1)  # until another path has come to its end
            if [node.id for node in path] == ["3", "3-1"]:
                done.set()
            return await super().propose(task, path, n, first=first, seed=seed)

    result = await search(strategy, Slow(fans))
    assert result.best.finished
