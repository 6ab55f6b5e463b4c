"""Prices and sizes of the models of a run, and budgets that need them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.costs.rates import Price, Rates
from codetool.errors import CodeToolError, ConfigError
from codetool.http.addresses import list_addresses
from codetool.interfaces import PolicyOption, Priced, SizedModel
from codetool.ledger import Ledger
from codetool.prm.ensemble import list_models


def find_rates(config: RunConfig) -> Rates:
    """Return the prices of all models of a run that have one, and the sizes of those whose size is known."""
    models = list(_list_models(config))
    prices = {name: price for name, option in models if (price := find_price(config, option)) is not None}
    sizes = {name: size for name, option in models if (size := _find_size(config, option)) is not None}
    return Rates(prices, sizes)


def add_price(ledger: Ledger, rates: Rates) -> Ledger:
    """Return the ledger of a failed task with its price and operations, as far as they can be computed."""
    try:
        return rates.apply(ledger)
    except Exception:  # the task's own error is already recorded
        return ledger


def check_price_limits(config: RunConfig) -> None:
    """Raise ConfigError for a limit in USD if no model has a price, so that it could never be reached."""
    limited = {name: budget.usd for name, budget in (("budget", config.budget), ("run_budget", config.run_budget))}
    for name, limit in limited.items():
        if limit is not None and not find_rates(config).prices:
            raise ConfigError(
                f"{name}.usd={limit:g}: no model of this run has a price, so the limit would never be reached. "
                "Set policy.usd_per_million_in= and policy.usd_per_million_out=, or limit tokens: "
                f"{name}.tokens=NUMBER"
            )


def check_flops_limit(config: RunConfig, rates: Rates) -> None:
    """Raise ConfigError for a limit of operations if a model's size is unknown, now that its files are there."""
    parts = ["policy", *(["prm"] if list_models(config.prm) else [])]
    parts += ["answer"] if isinstance(config.answer, PolicyOption) else []
    unknown = [part for part in parts if part not in rates.parameters]
    if config.budget.flops is not None and unknown:
        settings = " and ".join(f"{part}.parameters=NUMBER" for part in unknown)
        raise ConfigError(
            f"budget.flops={config.budget.flops:g}: the size of the model is unknown for {' and '.join(unknown)}, so "
            f"the limit would never be reached. Set {settings}, or limit tokens: budget.tokens=NUMBER"
        )


def describe_rates(config: RunConfig) -> dict[str, Any]:
    """Return the prices and set sizes on which the result depends, since `budget.usd` and `budget.flops` limit it.

    Sizes that are counted from weights are left out: the checksums of the weights determine them.
    """
    described: dict[str, Any] = {}
    if config.budget.usd is not None:
        prices = find_rates(config).prices
        described["prices"] = {name: [price(10**6, 0), price(0, 10**6)] for name, price in prices.items()}
    if config.budget.flops is not None:
        sizes = {name: getattr(option, "parameters", None) for name, option in _list_models(config)}
        described["parameters"] = {name: size for name, size in sizes.items() if size is not None}
    return described


def _list_models(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield each component that a model may answer for, with the option of that model."""
    yield "policy", config.policy
    yield "prm", config.prm
    yield "answer", config.answer if isinstance(config.answer, PolicyOption) else config.policy
    yield "simulator", config.simulator
    yield "judge", config.judge


def find_price(config: RunConfig, option: Any) -> Price | None:
    """Return the price that the option's own settings give, else the one of the table; None without either."""
    if _has_price(option):
        price: Price = option.usd
        return price
    listed = config.costs.find_price(list_addresses(getattr(option, "base_url", None)), getattr(option, "model", None))
    return None if listed is None else listed.usd


def _has_price(option: Any) -> bool:
    try:
        return isinstance(option, Priced) and option.usd(0, 0) is not None
    except Exception:  # of a plug-in: raised again when a task is priced, which fails then
        return True


def _find_size(config: RunConfig, option: Any) -> int | None:
    """Return the number of parameters of a model, or of each model of an ensemble if all have as many."""
    sizes = {_find_model_size(config, member) for member in list_models(option)}
    return sizes.pop() if len(sizes) == 1 else None


def _find_model_size(config: RunConfig, option: Any) -> int | None:
    try:
        counted = option.count_parameters() if isinstance(option, SizedModel) else None
    except CodeToolError:  # its files are not there
        counted = None
    return counted or config.costs.parameters.get(getattr(option, "model", None))
