"""Adaptive search: more candidates and paths where scores leave doubt, an early end where they do not."""

import pytest
from search_world import ScriptedPolicy, TextPRM, fans, search, step

from codetool.rewards.codetool import StepReward
from codetool.search.adaptive import Adaptive

LAST = StepReward(spot=0.0, latent=1.0, aggregate="last")
"""The score of a path is the latent reward of its last step."""


def adaptive(**changes: float) -> Adaptive:
    settings = {"width": 3, "n": 6, "depth": 3, "spread": 0.1, "agreement": 0.7, "sure": 0.95}
    return Adaptive(**settings | changes)


async def draws(strategy: Adaptive, script: object, **values: float) -> list[tuple[tuple[str, ...], int]]:
    policy = ScriptedPolicy(script)
    await search(strategy, policy, prm=TextPRM(**values), reward=LAST)
    return [(path, n) for _, path, _, n in policy.asked]


async def test_candidates_in_doubt_are_followed_by_twice_as_many_up_to_n():
    assert await draws(adaptive(depth=1), fans) == [((), 2), ((), 2), ((), 2)]
    assert await draws(adaptive(depth=1, n=9), fans) == [((), 2), ((), 2), ((), 4), ((), 1)]
    assert await draws(adaptive(depth=1, n=1), fans) == [((), 1)]


async def test_no_more_are_drawn_where_the_policy_agrees_with_itself():
    assert await draws(adaptive(depth=1), lambda path, index: step("same")) == [((), 2)]
    # 1 of 2 differ, then 3 of 4 are the same: 0.75 >= 0.7
    assert await draws(adaptive(depth=1), lambda path, index: step("ab"[index == 0])) == [((), 2), ((), 2)]
    assert len(await draws(adaptive(depth=1, agreement=0.75), lambda path, index: step("ab"[index == 0]))) == 2
    assert len(await draws(adaptive(depth=1, agreement=0.8), lambda path, index: step("ab"[index == 0]))) == 3


async def test_no_more_are_drawn_beside_a_sure_candidate():
    assert await draws(adaptive(depth=1), fans, **{"1": 0.96}) == [((), 2)]


@pytest.mark.parametrize(
    ("spread", "kept"), [(0.0, {"0"}), (0.1, {"0", "1"}), (0.3, {"0", "1", "2"}), (1.0, {"0", "1", "2"})]
)
async def test_paths_are_kept_while_their_scores_are_close(spread, kept):
    """Scores 0.8, 0.75, 0.5 and 0.1; the width allows three."""
    scores = {"0": 0.8, "1": 0.75, "2": 0.5, "3": 0.1}
    asked = await draws(adaptive(n=4, depth=2, spread=spread), fans, **scores)
    assert {path[0] for path, _ in asked if path} == kept


async def test_a_sure_finished_path_ends_the_search():
    def script(path, index):
        return step(name := "".join(path[-1:]) + str(index), finished=name == "1")

    asked = await draws(adaptive(), script, **{"0": 0.9, "1": 0.96})
    assert asked == [((), 2)]


async def test_a_finished_path_that_no_other_comes_near_ends_the_search_too():
    def script(path, index):
        return step(str(index), finished=index == 1)

    assert {path for path, _ in await draws(adaptive(n=2), script, **{"0": 0.5, "1": 0.7})} == {()}
    assert {path for path, _ in await draws(adaptive(n=2), script, **{"0": 0.65, "1": 0.7})} > {()}


async def test_a_good_path_that_cannot_finish_stops_no_other():
    def script(path, index):
        if path == ("0",):
            return None
        return step(name := "".join(path[-1:]) + str(index), finished=len(name) == 3)

    policy = ScriptedPolicy(script)
    result = await search(adaptive(n=2, spread=0.5), policy, prm=TextPRM(**{"0": 0.9}), reward=LAST)
    assert result.best.finished
