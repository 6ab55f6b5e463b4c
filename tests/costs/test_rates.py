"""Prices and floating-point operations of the tokens of a ledger."""

from functools import partial

from codetool.costs.rates import Rates
from codetool.ledger import Ledger


def usd(price_in: float, price_out: float, tokens_in: int, tokens_out: int) -> float:
    return (tokens_in * price_in + tokens_out * price_out) / 1e6


LEDGER = Ledger(
    tokens_in=1000, tokens_out=100, prm_tokens=5000, prm_tokens_computed=10, answer_tokens_in=300, answer_tokens_out=30,
    simulator_tokens_in=40, simulator_tokens_out=4, judge_tokens_in=50, judge_tokens_out=5,
)  # fmt: skip


def test_a_ledger_costs_what_its_priced_models_cost() -> None:
    prices = {"policy": partial(usd, 1.0, 10.0), "judge": partial(usd, 100.0, 1000.0)}
    assert Rates(prices).apply(LEDGER).usd == (1000 + 1000 + 5000 + 5000) / 1e6
    assert Rates(prices).apply(Ledger()).usd == 0.0  # nothing was asked
    assert Rates({}).apply(LEDGER).usd is None


def test_operations_are_those_of_the_method_as_if_nothing_were_cached() -> None:
    rates = Rates(parameters={"policy": 7, "prm": 3, "answer": 7})
    assert rates.apply(LEDGER).flops == 2 * (7 * 1100 + 3 * 5000 + 7 * 330)


def test_operations_are_unknown_if_a_model_of_unknown_size_has_read_tokens() -> None:
    rates = Rates(parameters={"policy": 7})
    assert rates.apply(LEDGER).flops is None
    assert rates.apply(Ledger(tokens_in=5)).flops == 70  # no PRM was asked
