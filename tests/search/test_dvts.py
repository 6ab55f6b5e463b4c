"""Diverse verifier tree search: subtrees that do not compete."""

from search_world import ScriptedPolicy, TextPRM, fans, search, step

from codetool.search.beam import Beam
from codetool.search.dvts import DVTS
from codetool.search.greedy import Greedy


async def test_one_tree_is_greedy_search():
    for seed in range(4):
        assert await search(DVTS(trees=1, n=3, depth=5), fans, seed=seed) == await search(
            Greedy(n=3, depth=5), fans, seed=seed
        )


async def test_each_subtree_follows_its_own_best_step_where_a_beam_follows_one_branch():
    """Four first steps, dealt to two trees: 0 and 2, 1 and 3. All below 0 is better than all below the others."""
    prm = TextPRM(**{"0": 0.9, "2": 0.1, "1": 0.3, "3": 0.4, "0.0": 0.9, "0.1": 0.9, "3.0": 0.2, "3.1": 0.1})
    policy = ScriptedPolicy(fans)
    result = await search(DVTS(trees=2, n=2, depth=3), policy, prm=prm)
    followed = [path for _, path, _, _ in policy.asked]
    assert followed[0] == () and {path[0] for path in followed[1:]} == {"0", "3"}
    assert [n for *_, n in policy.asked] == [4, 2, 2, 2, 2]
    assert result.best.path[0].step.text == "0"
    beam = ScriptedPolicy(fans)
    await search(Beam(width=2, n=2, depth=3), beam, prm=prm)
    assert {path[0] for _, path, _, _ in beam.asked if len(path) > 1} == {"0"}


async def test_equal_first_steps_are_one_subtree():
    policy = ScriptedPolicy(lambda path, index: fans(path, min(index, 1) if not path else index))
    await search(DVTS(trees=4, n=2, depth=3), policy)
    assert len({path[0] for _, path, _, _ in policy.asked if path}) == 2


async def test_a_finished_step_that_was_passed_over_is_a_result():
    def script(path, index):
        return step("end", finished=True) if index == 1 else step(f"on{len(path)}")

    prm = TextPRM(end=0.1, on0=0.9, on1=0.9)
    result = await search(DVTS(trees=1, n=2, depth=2), script, prm=prm)
    assert result.best.finished
