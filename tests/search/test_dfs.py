"""Depth-first search: the order in which ways are tried, where it goes back, and when it stops."""

import pytest
from search_world import ScriptedPolicy, TextPRM, budget, search, step

from codetool.search.dfs import DepthFirst


def tried(result):
    """The texts of all steps but the root's, in the order of the tree."""
    return [node.step.text for node in sorted(result.nodes[1:], key=lambda node: node.id)]


def names(path, index):
    return "".join(path[-1:]) + "ab"[index]


def dfs(order="drawn", n=2, depth=3, *, show_tried=True):
    return DepthFirst(n=n, depth=depth, order=order, show_tried=show_tried)


async def test_the_first_finished_path_ends_the_search_and_nothing_else_is_drawn():
    policy = ScriptedPolicy(lambda path, index: step(names(path, index), finished=len(path) == 2))
    result = await search(dfs(depth=9), policy)
    assert (result.best.step.text, tried(result)) == ("aaa", ["a", "aa", "aaa"])
    assert [(path, first, n) for _, path, first, n in policy.asked] == [((), 0, 1), (("a",), 0, 1), (("a", "aa"), 0, 1)]


async def test_the_depth_limit_goes_back_to_the_nearest_step_with_a_way_left():
    """Only `bab` finishes: every way before it is walked to its end first, each step drawn once."""
    policy = ScriptedPolicy(lambda path, index: step(name := names(path, index), finished=name == "bab"))
    result = await search(dfs(), policy)
    assert result.best.step.text == "bab"
    assert tried(result) == ["a", "aa", "aaa", "aab", "ab", "aba", "abb", "b", "ba", "baa", "bab"]
    assert [path[-1:] + (first,) for _, path, first, _ in policy.asked] == [
        (0,), ("a", 0), ("aa", 0), ("aa", 1), ("a", 1), ("ab", 0), ("ab", 1), (1,), ("b", 0), ("ba", 0), ("ba", 1)
    ]  # fmt: skip


async def test_another_way_is_asked_for_with_the_ways_before_it_at_that_step_alone():
    def script(path, index):
        return step(name := "".join(path[-1:]) + "abc"[index], finished=name == "cc")

    policy = ScriptedPolicy(script)
    assert (await search(dfs(n=3, depth=2), policy)).best.step.text == "cc"
    assert policy.shown == [
        (), (), ("aa",), ("aa", "ab"), ("a",), (), ("ba",), ("ba", "bb"), ("a", "b"), (), ("ca",), ("ca", "cb")
    ]  # fmt: skip
    unaware = ScriptedPolicy(script)
    await search(dfs(n=3, depth=2, show_tried=False), unaware)
    assert unaware.asked == policy.asked and not any(unaware.shown)


async def test_giving_up_is_a_dead_end_and_an_error_is_none():
    def script(path, index):
        if path == ("a",):
            return step("gives up" + str(index), None)
        return step(name := names(path, index), "1/0" if name == "b" else "", finished=name == "ba")

    result = await search(dfs(), script)
    assert (result.best.step.text, result.best.finished) == ("ba", True)
    assert tried(result) == ["a", "gives up0", "gives up1", "b", "ba"]


async def test_a_last_step_that_failed_is_tried_another_way():
    result = await search(dfs(), lambda path, index: step(str(index), "" if index else "1/0", finished=True))
    assert (result.best.step.text, tried(result)) == ("1", ["0", "1"])


async def test_an_answer_without_code_is_a_solution():
    result = await search(dfs(), lambda path, index: step("It is 7.", None, finished=True))
    assert (result.best.finished, len(result.nodes)) == (True, 2)


async def test_without_a_solution_the_best_end_is_chosen():
    prm = TextPRM(aa=0.9, ab=0.1, ba=0.2, bb=0.3)
    result = await search(dfs(depth=2), lambda path, index: step(names(path, index)), prm=prm)
    assert (result.best.step.text, len(result.nodes)) == ("aa", 7)


async def test_a_program_drawn_again_is_not_walked_again():
    policy = ScriptedPolicy(lambda path, index: step(f"{len(path)}"))
    result = await search(dfs(n=3), policy)
    assert [node.multiplicity for node in result.nodes[1:]] == [3, 3, 3]
    assert len(policy.asked) == 9 and result.ledger.executions == 3


@pytest.mark.parametrize("order", ["drawn", "reward"])
async def test_a_spent_budget_ends_the_search_at_once(order):
    policy = ScriptedPolicy(lambda path, index: step(names(path, index)))
    result = await search(dfs(order, depth=9), policy, limits=budget(executions=4))
    assert (result.ledger.executions, result.stopped_by, result.best.finished) == (4, "executions", False)


async def test_by_reward_all_ways_are_drawn_and_the_best_goes_first():
    policy = ScriptedPolicy(lambda path, index: step(name := names(path, index), finished=name in ("bb", "aa")))
    result = await search(dfs("reward"), policy, prm=TextPRM(a=0.1, b=0.9, ba=0.2, bb=0.8))
    assert result.best.step.text == "bb"
    assert [(path, n) for _, path, _, n in policy.asked] == [((), 2), (("b",), 2)]


async def test_by_reward_the_second_best_follows_a_dead_end():
    def script(path, index):
        return step("no", None) if path == ("b",) else step(name := names(path, index), finished=name == "ab")

    result = await search(dfs("reward"), script, prm=TextPRM(a=0.1, b=0.9, aa=0.2, ab=0.8))
    assert (result.best.step.text, tried(result)) == ("ab", ["a", "aa", "ab", "b", "no"])


async def test_giving_up_abandons_the_place_with_back_and_the_place_before_it_is_asked_for_another_way():
    def script(path, index):
        if path == ("a", "aa"):
            return step("gives up" + str(index), None)
        return step(name := names(path, index), finished=name == "aba")

    retry = await search(dfs(depth=4), script)
    back = await search(DepthFirst(n=2, depth=4, order="drawn", show_tried=True, give_up="back"), script)
    assert retry.best.step.text == back.best.step.text == "aba"
    assert tried(retry) == ["a", "aa", "gives up0", "gives up1", "ab", "aba"]
    assert tried(back) == ["a", "aa", "gives up0", "ab", "aba"]


async def test_giving_up_at_once_ends_the_search_with_back():
    strategy = DepthFirst(n=2, depth=4, order="drawn", show_tried=True, give_up="back")
    result = await search(strategy, lambda path, index: step("gives up", None))
    assert (tried(result), result.best.finished) == (["gives up"], False)
    assert strategy.irrelevant_settings() == frozenset() and dfs().irrelevant_settings() == {"give_up"}
