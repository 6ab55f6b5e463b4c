"""Monte Carlo tree search: where each simulation goes, computed by hand, and what comes of it."""

import itertools
import math
from collections import Counter

import pytest
from search_world import ScriptedPolicy, TextPRM, budget, fans, search, step

from codetool.rewards.codetool import StepReward
from codetool.search.exhaustive import Exhaustive
from codetool.search.greedy import Greedy
from codetool.search.mcts import MCTS
from codetool.search.puct import Visits

LATENT_OF_LAST = StepReward(spot=0.0, latent=1.0, aggregate="last")
"""The relative reward of a path is the latent reward of its last step."""
VALUES = {"0": 0.8, "1": 0.4, "00": 0.2, "01": 0.6, "10": 0.9, "11": 0.5}


def mcts(**changes: object) -> MCTS:
    settings: dict[str, object] = {
        "simulations": 99, "n": 2, "depth": 2, "exploration": 1.0, "prior": "uniform", "prior_temperature": 1.0,
        "value": "reward", "rollouts": 1, "widening_factor": 9, "widening_exponent": 0, "parallel": 1,
        "choose": "reward",
    }  # fmt: skip
    return MCTS(**settings | changes)


def binary(path, index):
    """Steps named by their places, `01` below `0`; all draws differ and none finishes."""
    return step("".join(path[-1:]) + str(index))


@pytest.fixture
def visited(monkeypatch):
    """The texts and values of all visits, in their order."""
    visits = []
    add_visit = Visits.add_visit

    def add(self, value):
        visits.append((self.node.step.text, value))
        add_visit(self, value)

    monkeypatch.setattr(Visits, "add_visit", add)
    return visits


async def test_every_simulation_goes_where_the_formula_says(visited):
    """Two steps of two candidates with their values in VALUES; exploration 1, uniform priors P = 1/2.

    sim  root: scores of 0 and 1, Q + 0.5 * sqrt(N) / (1 + N(child))     below               N, Q of 0     N, Q of 1
    1    a candidate is missing                                           draws 0             1, 0.8
    2    a candidate is missing                                           draws 1                           1, 0.4
    3    0.8 + 0.5*1.414/2 = 1.154    0.4 + 0.354 = 0.754                 draws 00 (0.2)      2, 0.5
    4    0.5 + 0.5*1.732/3 = 0.789    0.4 + 0.433 = 0.833                 draws 10 (0.9)                    2, 0.65
    5    0.5 + 0.5*2/3     = 0.833    0.65 + 0.333 = 0.983                draws 11 (0.5)                    3, 0.6
    6    0.5 + 0.5*2.236/3 = 0.873    0.6 + 0.280 = 0.880                 10: 1.254, 11: 0.854              4, 0.675
    7    0.5 + 0.5*2.449/3 = 0.908    0.675 + 0.245 = 0.920               10: 1.189, 11: 0.933              5, 0.72
    8    0.5 + 0.5*2.646/3 = 0.941    0.72 + 0.2205 = 0.9405              draws 01 (0.6)      3, 0.533
    """
    result = await search(mcts(), binary, prm=TextPRM(**VALUES), reward=LATENT_OF_LAST)
    assert [text for text, _ in visited] == ["0", "1", "00", "10", "11", "10", "10", "01"]
    assert [value for _, value in visited] == [VALUES[text] for text, _ in visited]
    assert result.best.step.text == "10"
    assert len(result.nodes) == 7, "the search ends when nothing is left to draw, long before 99 simulations"


@pytest.mark.parametrize("simulations", range(1, 9))
async def test_the_number_of_simulations_ends_it(visited, simulations):
    await search(mcts(simulations=simulations), binary, prm=TextPRM(**VALUES), reward=LATENT_OF_LAST)
    assert [text for text, _ in visited] == ["0", "1", "00", "10", "11", "10", "10", "01"][:simulations]


async def test_simulations_in_flight_spread_by_virtual_loss(visited):
    """Two at a time. After 0 and 1, the third goes to 0 as above.

    With it in flight, the fourth sees N(0) = 2 and Q(0) = 0.8 / 2: 0.4 + 0.289 against 0.4 + 0.433, so it goes to 1.
    The fifth goes to 1 as above. With it in flight, the sixth sees Q(1) = 1.3 / 3: 0.5 + 0.373 against 0.433 + 0.280,
    so it goes to 0.
    """
    policy = ScriptedPolicy(binary)
    await search(mcts(parallel=2), policy, prm=TextPRM(**VALUES), reward=LATENT_OF_LAST)
    assert [(path, first, n) for _, path, first, n in policy.asked] == [
        ((), 0, 2), (("0",), 0, 1), (("1",), 0, 1), (("1",), 1, 1), (("0",), 1, 1)
    ]  # fmt: skip
    assert [text for text, _ in visited] == ["0", "1", "00", "10", "11", "01"]


async def test_a_simulation_that_meets_only_candidates_in_flight_waits_for_the_next_batch():
    policy = ScriptedPolicy(binary)
    await search(mcts(parallel=8, simulations=3, widening_factor=1), policy)
    assert [(path, first, n) for _, path, first, n in policy.asked] == [((), 0, 1), (("0",), 0, 1)]


async def test_the_root_is_widened_as_its_visits_grow():
    """⌈√N⌉ candidates: the simulations that follow 0, 2, 5, 10 and 17 others draw one at the root."""
    for simulations in range(1, 20):
        policy = ScriptedPolicy(binary)
        await search(mcts(simulations=simulations, n=9, depth=9, widening_factor=1, widening_exponent=0.5), policy)
        at_root = sum(path == () for _, path, _, _ in policy.asked)
        assert at_root == math.ceil(math.sqrt(max(simulations - 1, 1)))
        assert len(policy.asked) == simulations


async def test_n_bounds_the_candidates_of_every_step():
    result = await search(mcts(n=3, depth=3, parallel=4), binary)
    assert Counter(node.parent.id for node in result.nodes if node.parent) == {
        node.id: 3 for node in result.nodes if node.depth < 3
    }


def deceptive(path, index):
    """`a` looks better than `b` until its steps finish; of 27 ends, `bca` alone is good."""
    return step(name := "".join(path[-1:]) + "abc"[index % 3], finished=len(name) == 3)


DECEPTIVE = {"".join(name): 0.3 for name in itertools.product("abc", repeat=3)}
DECEPTIVE |= {"".join(name): 0.5 for name in itertools.product("abc", repeat=2)}
DECEPTIVE |= {"a": 0.6, "b": 0.55, "c": 0.2, "bca": 0.95, "bc": 0.6}


@pytest.mark.parametrize("changes", [{}, {"parallel": 4}, {"prior": "latent"}, {"choose": "visits", "simulations": 60}])
async def test_it_finds_the_best_leaf_of_a_deceptive_tree(changes):
    """Greedy follows `a`. Visits alone need some more simulations, until the good end has most of them."""
    prm = TextPRM(**DECEPTIVE)
    greedy = await search(Greedy(n=3, depth=3), deceptive, prm=prm, reward=LATENT_OF_LAST)
    assert greedy.best.step.text[0] == "a"
    strategy = mcts(**{"n": 3, "depth": 3, "simulations": 30} | changes)
    result = await search(strategy, deceptive, prm=prm, reward=LATENT_OF_LAST)
    assert result.best.step.text == "bca"


async def test_with_enough_simulations_it_is_exhaustive():
    for seed in range(3):
        whole = await search(Exhaustive(n=2, depth=3), fans, seed=seed)
        result = await search(mcts(depth=3, simulations=500, parallel=3), fans, seed=seed)
        assert {node.step.text for node in result.nodes[1:]} == {node.step.text for node in whole.nodes[1:]}


async def test_the_prior_directs_simulations_before_values_differ(visited):
    prm = TextPRM(**{"0": 0.1, "1": 0.9})
    reward = StepReward(spot=1.0, latent=0.0, aggregate="mean")
    await search(mcts(simulations=3, prior="latent"), binary, prm=prm, reward=reward)
    assert visited == [("0", 1.0), ("1", 1.0), ("10", 1.0)]


async def test_the_value_of_a_path_is_its_mean_latent_reward_by_the_prm(visited):
    await search(mcts(simulations=3, value="prm"), binary, prm=TextPRM(**VALUES))
    assert visited == [("0", 0.8), ("1", 0.4), ("00", pytest.approx(0.5))]


async def test_rollouts_value_a_step_by_the_ends_of_chains_after_it(visited):
    """Two chains after each new step: those of `0` end in 000 and 010, one of which finishes."""

    def script(path, index):
        return step(name := "".join(path[-1:]) + str(index), finished=name in ("000", "100", "110"))

    prm = TextPRM(**{"000": 0.6, "010": 0.9, "100": 0.5, "110": 0.3})
    changes = {"simulations": 2, "value": "rollouts", "rollouts": 2, "depth": 3}
    policy = ScriptedPolicy(script)
    result = await search(mcts(**changes), policy, prm=prm, reward=LATENT_OF_LAST)
    assert visited == [("000", 0.6), ("010", 0.0), ("100", 0.5), ("110", 0.3)]
    assert result.ledger.executions == 10
    assert [(path, n) for _, path, _, n in policy.asked[:3]] == [((), 1), (("0",), 2), (("0", "00"), 1)]
    assert result.best.step.text == "000"


async def test_the_reward_is_on_a_scale_from_0_to_1_whatever_its_weights(visited):
    """A step that failed with latent 0.5 has 1.5 of at most 2 + 3 points; the one after it 1.5 + 3.5 of 10."""

    def script(path, index):
        return step("first", "1/0") if not path else step("second")

    reward = StepReward(spot=2.0, latent=3.0, aggregate="sum")
    await search(mcts(n=1), script, prm=TextPRM(), reward=reward)
    assert visited == [("first", pytest.approx(0.3)), ("second", pytest.approx(0.5))]


async def test_a_program_that_is_drawn_again_is_visited_again(visited):
    policy = ScriptedPolicy(lambda path, index: step(f"{len(path)}" + "ab"[index // 3]))
    result = await search(mcts(n=4, depth=1), policy, prm=TextPRM(**{"0a": 0.9, "0b": 0.2}), reward=LATENT_OF_LAST)
    assert visited == [("0a", 0.9), ("0a", 0.9), ("0a", 0.9), ("0b", 0.2)]
    assert result.best.multiplicity == 3 and result.ledger.executions == 2


async def test_a_step_without_candidates_is_left_for_others():
    def script(path, index):
        return None if path == ("0",) else binary(path, index)

    result = await search(mcts(), script, prm=TextPRM(**VALUES), reward=LATENT_OF_LAST)
    assert [node.step.text for node in result.nodes[1:]] == ["0", "1", "10", "11"]


async def test_a_spent_budget_ends_it_with_the_best_up_to_then():
    result = await search(mcts(depth=9, simulations=10**6), binary, prm=TextPRM(**VALUES), limits=budget(executions=40))
    assert (result.ledger.executions, result.stopped_by) == (40, "executions")


async def test_visits_choose_the_path_that_simulations_came_to_most():
    """The cumulative reward counts what the value leaves out: by reward 0 is the result, by visits 1."""
    prm = TextPRM(**{"0": 0.1, "1": 0.9})

    def script(path, index):
        return step(str(index), "1/0" if index else "", finished=True)

    reward = StepReward(spot=1.0, latent=0.1, aggregate="sum")
    common = {"value": "prm", "depth": 1, "simulations": 9, "n": 3}
    by_reward = await search(mcts(**common), script, prm=prm, reward=reward)
    by_visits = await search(mcts(**common, choose="visits"), script, prm=prm, reward=reward)
    assert (by_reward.best.step.text, by_visits.best.step.text) == ("0", "1")


def test_settings_without_effect_have_no_part_in_the_identity():
    assert mcts().irrelevant_settings() == {"select", "prior_temperature", "rollouts"}
    assert mcts(prior="policy", value="rollouts").irrelevant_settings() == {"select"}
    assert mcts(prior="latent", select="vote").irrelevant_settings() == {"rollouts"}
    assert mcts(select="vote", choose="visits").irrelevant_settings() >= {"select"}


def test_it_says_what_it_reads():
    assert not mcts().reads_log_probability and mcts(prior="policy").reads_log_probability
    assert not mcts().reads_latent and mcts(prior="latent").reads_latent and mcts(value="prm").needs_prm
