"""First-error search: which states it probes, which rollouts it follows, and what its trees say of the steps."""

import pytest
from search_world import ScriptedPolicy, TextPRM, budget, search, step
from tree_world import settings

from codetool.process_data.labels import label_steps
from codetool.process_data.rollouts import Rollout
from codetool.search.first_error import FirstError, _Bisection, _FailedRollout, _State
from codetool.types import Node, Task


def strategy(**changes):
    chosen = {"rollouts": 3, "searches": 4, "depth": 5, "alpha": 0.5, "beta": 0.9, "exploration": 0.125, **changes}
    return FirstError(**chosen)


def one_error(path, index):
    """Chains of five steps. The second first step, and it alone, is followed by an error if its first draw is taken.

    The last step fails after the error.
    """
    if len(path) == 4:
        failed = "err" in path
        return step(f"end{index}", "1/0" if failed else f"print({index})", finished=True)
    if path == ("first1",) and index == 0:
        return step("err")
    return step(f"{['first', 'second', 'third', 'fourth'][len(path)]}{index}")


def probes(policy):
    """The states from which more than one candidate was drawn, by the texts of their steps, in their order."""
    return [path for _, path, _, n in policy.asked if n > 1]


async def test_the_middle_of_a_failed_rollout_is_probed_until_the_first_error_is_known():
    policy = ScriptedPolicy(one_error)
    result = await search(strategy(searches=1), policy)
    # of states after 0 … 5 steps, that after 0 can succeed and that after 5 cannot: 2 is probed, then 1
    assert probes(policy) == [(), ("first1", "err"), ("first1",)]
    found = {node.step.text: node for node in result.nodes if node.step and node.depth <= 2}
    outcomes = {node.id: node.spot > 0 for node in result.nodes if node.finished}
    labelled = label_steps(Rollout(Task("t", "", ()), result.nodes, outcomes), settings())
    softs = {each.node.id: each.estimate.soft for each in labelled}
    assert softs[found["err"].id] == 0 < softs[found["first1"].id] < 1 == softs[found["first0"].id]
    assert result.best.finished and result.best.spot == 1
    assert all(node.finished or node.depth < 5 for node in result.nodes), "every rollout goes to its end"


async def test_nothing_is_searched_where_all_rollouts_succeed_or_all_fail():
    for last in ("", "1/0"):

        def script(path, index, last=last):
            return step(f"end{index}", last, finished=True) if len(path) == 2 else step(f"{len(path)}.{index}")

        policy = ScriptedPolicy(script)
        await search(strategy(), policy)
        assert probes(policy) == [()]


async def test_the_prm_says_what_succeeds():
    policy = ScriptedPolicy(lambda path, index: step(f"{len(path)}.{index}", finished=len(path) == 1))
    await search(strategy(searches=0), policy, prm=TextPRM(**{"1.0": 0.1}))
    assert probes(policy) == [()]
    mixed = ScriptedPolicy(lambda path, index: step(".".join([*path[-1:], str(index)]), finished=len(path) == 1))
    await search(strategy(depth=2), mixed, prm=TextPRM(**{"1.0": 0.1}))
    assert ("1",) in probes(mixed)


async def test_a_program_drawn_again_is_rolled_out_once_more_and_its_rollouts_counted():
    """Two of three rollouts from the root have the same first step: it is continued twice."""
    policy = ScriptedPolicy(
        lambda path, index: step("same" if index < 2 else "other") if not path else step(f"end{index}", finished=True)
    )
    result = await search(strategy(searches=0), policy)
    assert {(path, n) for _, path, _, n in policy.asked} == {((), 3), (("same",), 2), (("other",), 1)}
    assert sorted(node.multiplicity for node in result.nodes if node.depth == 1) == [1, 2]


async def test_a_budget_ends_the_searches():
    whole, limited = ScriptedPolicy(one_error), ScriptedPolicy(one_error)
    await search(strategy(), whole)
    result = await search(strategy(), limited, limits=budget(executions=18))
    assert result.stopped_by == "executions" and result.best.finished
    assert len(limited.asked) < len(whole.asked)


def test_the_selection_score_is_that_of_the_formula():
    ends = [Node("1"), Node("1-1", Node("1"), 3), Node("2", None, 5)]
    often, seldom = _State(Node("0"), 0.75, searches=3), _State(Node("1", None, 1), 0.25, searches=1)
    bisection = _Bisection(strategy(alpha=0.5, beta=0.9, exploration=0.2), None, {"0": often, "1": seldom})
    explored = 2.0  # the root of 3 + 1
    assert bisection._score(_FailedRollout(often, ends[1]), explored) == pytest.approx(0.5**0.25 * 0.9**3 + 0.2 * 2 / 4)
    assert bisection._score(_FailedRollout(seldom, ends[2]), explored) == pytest.approx(
        0.5**0.75 * 0.9**4 + 0.2 * 2 / 2
    )
    bisection.pool += [_FailedRollout(seldom, ends[2]), _FailedRollout(often, ends[1])]
    assert bisection.take_rollout().state is often and often.searches == 4
    assert bisection.take_rollout().state is seldom and bisection.take_rollout() is None
