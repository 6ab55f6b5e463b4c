"""Prices of hosted models by the addresses of their servers."""

from codetool.costs.cost_table import CostTable, ModelPrice


def price(host: str, usd: float) -> ModelPrice:
    return ModelPrice(host=host, model="m", usd_per_million_in=usd, usd_per_million_out=0)


def test_replicas_have_a_price_if_it_is_the_same_at_all_of_them() -> None:
    table = CostTable(prices=(price("a", 1), price("b", 1), price("c", 2)), parameters={})
    assert table.find_price(["https://a/v1"], "m") == price("a", 1)
    found = table.find_price(["https://a/v1", "https://b:81/v1"], "m")
    assert found is not None and found.usd(10**6, 0) == 1
    assert table.find_price(["https://a/v1", "https://c/v1"], "m") is None
    assert table.find_price(["https://a/v1", "https://unknown/v1"], "m") is None
    assert table.find_price([], "m") is None and table.find_price(["https://a/v1"], "other") is None
