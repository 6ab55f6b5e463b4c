"""The most that a strategy may ask for, and that no search asks for more."""

import zlib

import pytest
from search_world import ScriptedPolicy, TextPRM, search, step

from codetool.config.config_sources import initialize_hydra, list_options
from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.search import upper_bound
from codetool.search.upper_bound import bound_search
from codetool.types import Node

with initialize_hydra():
    STRATEGIES = list_options("search")


def build_strategy(*words: str) -> object:
    return validate(compose_all(words)[0]).search


@pytest.mark.parametrize(
    ("words", "draws", "candidates"),
    [
        (("search=chain", "search.depth=4"), 4, 4),
        (("search=greedy", "search.n=3", "search.depth=4"), 4, 12),
        (("search=beam", "search.width=2", "search.n=3", "search.depth=4"), 1 + 3 * 2, 3 * 7),
        (("search=best_of_n", "search.n=3", "search.depth=4"), 1 + 3 * 3, 12),
        (("search=exhaustive", "search.n=2", "search.depth=5"), 31, 62),
        (("search=dfs", "search.n=2", "search.depth=3", "search.order=reward"), 7, 14),
        (("search=dfs", "search.n=2", "search.depth=3", "search.order=drawn"), 14, 14),
    ],
)
async def test_the_bound_is_the_number_of_calls_on_a_tree_without_an_end(words, draws, candidates):
    demand = await bound_search(build_strategy(*words))
    assert (demand.draws.total(), demand.candidates.total(), demand.is_cut) == (draws, candidates, False)


async def test_a_huge_number_of_candidates_is_counted_without_making_them():
    demand = await bound_search(build_strategy("search=greedy", "search.n=1000000000"))
    assert demand.candidates.total() == 10**9 and demand.is_cut


@pytest.mark.parametrize("option", STRATEGIES)
async def test_no_search_asks_for_more_than_its_bound(option):
    strategy = build_strategy(f"search={option}", "search.depth=3")
    demand = await bound_search(strategy)
    for seed in range(3):

        def script(path, index, seed=seed):
            text = f"{seed}.{'.'.join(path)}.{index}"
            draw = zlib.crc32(text.encode())
            return step(text, "1/0" if draw % 5 == 0 else str(index), finished=draw % 7 == 0)

        policy = ScriptedPolicy(script)
        await search(strategy, policy, prm=TextPRM(), seed=seed)
        assert len(policy.asked) <= demand.draws.total()
        assert sum(n for *_, n in policy.asked) <= demand.candidates.total()


async def test_counting_ends_where_a_search_asks_for_very_much(monkeypatch):
    monkeypatch.setattr(upper_bound, "MAX_CANDIDATES", 100)
    demand = await bound_search(build_strategy("search=exhaustive", "search.n=4", "search.depth=9"))
    assert demand.is_cut and 100 <= demand.candidates.total() < 110


def test_nodes_are_named_by_their_places_as_in_a_search():
    child = upper_bound._make_child(Node("0"), 2, 0.5)
    assert (child.id, upper_bound._make_child(child, 1, 0.5).id) == ("2", "2-1")
