"""Beam search that compares candidates by what follows them."""

import pytest
from search_world import ScriptedPolicy, TextPRM, fans, search, step

from codetool.rewards.codetool import StepReward
from codetool.search.beam import Beam

LAST = StepReward(spot=0.0, latent=1.0, aggregate="last")
VALUES = {"0": 0.9, "1": 0.2, "00": 0.1, "10": 0.8, "11": 0.3, "000": 0.2, "100": 0.7, "110": 0.9, "101": 0.6}


def beam(**changes: int) -> Beam:
    return Beam(**{"width": 1, "n": 2, "depth": 3} | changes)


def named(path, index):
    return step(name := "".join(path[-1:]) + str(index), finished=len(name) == 3)


async def test_it_follows_the_candidate_whose_chain_ends_best():
    """Without look-ahead `0` looks best; with one step, `10` shows that `1` is."""
    at_once = await search(beam(), named, prm=TextPRM(**VALUES), reward=LAST)
    ahead = await search(beam(lookahead=1), named, prm=TextPRM(**VALUES), reward=LAST)
    assert (at_once.best.step.text[0], ahead.best.step.text[0]) == ("0", "1")


async def test_what_was_drawn_ahead_is_a_candidate_of_the_next_step_and_is_not_drawn_again():
    policy = ScriptedPolicy(named)
    result = await search(beam(lookahead=1), policy, prm=TextPRM(**VALUES), reward=LAST)
    assert [(path, first, n) for _, path, first, n in policy.asked] == [
        ((), 0, 2),
        (("0",), 0, 1), (("1",), 0, 1),  # ahead of 0 and 1
        (("1",), 1, 1),                  # the second candidate after 1
        (("1", "10"), 0, 1), (("1", "11"), 0, 1),  # ahead of 10 and 11
        (("1", "11"), 1, 1),
    ]  # fmt: skip
    assert result.best.step.text == "110"


async def test_a_path_that_finishes_in_a_look_ahead_is_a_result():
    def script(path, index):
        return step(name := "".join(path[-1:]) + str(index), finished=name == "000")

    prm = TextPRM(**{"0": 0.1, "1": 0.9, "00": 0.1, "10": 0.9, "000": 0.1})
    result = await search(beam(lookahead=2, depth=4), script, prm=prm, reward=LAST)
    assert (result.best.step.text, result.best.finished) == ("000", True)


async def test_chains_of_different_lengths_are_compared_by_relative_reward():
    """`0` finishes at once with 0.8 of what is possible; the sum of two steps with 0.5 would be more."""

    def script(path, index):
        return step(name := "".join(path[-1:]) + str(index), finished=name == "0" or len(path) == 2)

    reward = StepReward(spot=0.0, latent=1.0, aggregate="sum")
    result = await search(beam(lookahead=1), script, prm=TextPRM(**{"0": 0.8}), reward=reward)
    assert [node.step.text for node in result.nodes if node.depth == 2] == ["10"], "only what was drawn ahead"
    assert result.best.step.text == "0"


async def test_without_look_ahead_nothing_changes():
    for seed in range(3):
        result = await search(beam(width=2), fans, seed=seed)
        assert result == await search(beam(width=2, lookahead=0), fans, seed=seed)
        assert result.ledger.executions == 2 + 4 + 4
    assert beam().irrelevant_settings() == {"select", "lookahead"}
    assert beam(lookahead=1).irrelevant_settings() == {"select"}


@pytest.mark.parametrize("lookahead", [1, 5])
async def test_the_depth_limit_holds_ahead(lookahead):
    result = await search(beam(lookahead=lookahead, depth=2), fans)
    assert max(node.depth for node in result.nodes) == 2
