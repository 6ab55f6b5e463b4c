"""The PUCT score of a child, its prior and the visits it is made of, against numbers computed by hand."""

import math

import pytest

from codetool.search.puct import Visits, compute_priors, rank_by_visits, select_child
from codetool.types import Node, Step

ROOT = Node("0")


def sibling(name: str, **fields: float | None) -> Node:
    return Node(name, ROOT, 1, Step(name, None, False), **fields)


def tree(*children: tuple[int, float, int], latents: tuple[float, ...] = (), **fields: float) -> Visits:
    """A root whose children have had this number of visits, this sum of values and this number in flight."""
    top = Visits(ROOT, None, 5)
    for place, (count, total, in_flight) in enumerate(children):
        node = sibling(str(place + 1), latent=latents[place] if latents else None, **fields)
        top.children[node.id] = Visits(node, top, 5, count=count, total=total, in_flight=in_flight)
    return top


@pytest.mark.parametrize(
    ("prior", "temperature", "expected"),
    [
        ("uniform", 1.0, [1 / 3, 1 / 3, 1 / 3]),
        ("latent", 1.0, [0.2, 0.2, 0.6]),
        ("latent", 0.5, [1 / 11, 1 / 11, 9 / 11]),  # squares
        ("policy", 1.0, [2 / 3, 0, 1 / 3]),
        ("policy", 2.0, [math.sqrt(2) / (1 + math.sqrt(2)), 0, 1 / (1 + math.sqrt(2))]),
    ],
)
def test_priors_are_shares_of_a_power_of_their_quantity(prior, temperature, expected):
    given = [(0.2, -40.0), (0.2, -300.0), (0.6, -40.0 - math.log(2))]
    siblings = [sibling(str(i), latent=latent, log_probability=log) for i, (latent, log) in enumerate(given)]
    assert compute_priors(siblings, prior, temperature) == pytest.approx(expected)


@pytest.mark.parametrize("prior", ["latent", "policy"])
def test_priors_are_uniform_where_a_sibling_lacks_them_or_all_are_impossible(prior):
    known = sibling("1", latent=0.9, log_probability=-1.0)
    assert compute_priors([known, sibling("2")], prior, 1.0) == [0.5, 0.5]
    assert compute_priors([known], prior, 1.0) == [1.0]
    assert compute_priors([sibling("1", latent=0.0), sibling("2", latent=0.0)], "latent", 1.0) == [0.5, 0.5]
    assert compute_priors([sibling("1", latent=0.0), sibling("2", latent=0.1)], "latent", 1e-3) == [0.0, 1.0]


def test_value_prior_and_visits_are_weighed_as_the_formula_says():
    # sqrt(4) = 2: 0.5 + 0.5 * 2 / 4 = 0.75 against 0.4 + 0.5 * 2 / 2 = 0.9
    assert select_child(tree((3, 1.5, 0), (1, 0.4, 0)), "uniform", 1.0, 1.0).node.id == "2"
    assert select_child(tree((3, 1.5, 0), (1, 0.4, 0)), "uniform", 1.0, 0.1).node.id == "1"
    # 0.5 + 0.8 * 2 / 4 = 0.9 against 0.4 + 0.2 * 2 / 2 = 0.6
    weighed = tree((3, 1.5, 0), (1, 0.4, 0), latents=(0.8, 0.2))
    assert select_child(weighed, "latent", 1.0, 1.0).node.id == "1"


def test_a_simulation_in_flight_is_a_visit_of_value_zero():
    # sqrt(2): 0.8 + 0.354 against 0.4 + 0.354; with one in flight, sqrt(3): 0.4 + 0.289 against 0.4 + 0.433
    assert select_child(tree((1, 0.8, 0), (1, 0.4, 0)), "uniform", 1.0, 1.0).node.id == "1"
    assert select_child(tree((1, 0.8, 1), (1, 0.4, 0)), "uniform", 1.0, 1.0).node.id == "2"


def test_the_seeded_tie_decides_between_equal_scores():
    top = tree((1, 0.5, 0), (1, 0.5, 0), (1, 0.5, 0))
    top.children["2"].node = sibling("2", tie=0.9)
    assert select_child(top, "uniform", 1.0, 1.0).node.id == "2"


def test_visits_and_flights_count_at_every_step_above():
    top = tree((0, 0.0, 0), (0, 0.0, 0))
    end = top.children["1"].add_chain(Node("1-1", top.children["1"].node, 2, Step("x", None, True)))
    end.add_flight(1)
    assert [step.count_with_flights for step in end.iterate_upwards()] == [1, 1, 1]
    end.add_flight(-1)
    end.add_visit(0.25)
    end.add_visit(0.75)
    assert [(step.count, step.mean) for step in end.iterate_upwards()] == [(2, 0.5)] * 3
    assert top.children["1"].drawn == 1 and end.closed and not top.children["2"].closed
    assert max(top.iterate_ends(), key=rank_by_visits) is end


@pytest.mark.parametrize(
    ("factor", "exponent", "allowed"), [(1, 0.5, [1, 1, 2, 2, 2, 3]), (3, 0, [3] * 6), (0.2, 1, [1, 1, 1, 1, 1, 1])]
)
def test_the_number_of_candidates_grows_with_the_visits(factor, exponent, allowed):
    assert [Visits(ROOT, None, 5, count=count).widen(factor, exponent) for count in range(6)] == allowed
