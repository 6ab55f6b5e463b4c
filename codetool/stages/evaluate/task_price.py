"""Prices and sizes of the models of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.costs.rates import Rates
from codetool.interfaces import PolicyOption, Priced
from codetool.ledger import Ledger

log = logging.getLogger(__name__)


def find_rates(config: RunConfig) -> Rates:
    """Return the prices of all models of a run that have one, and the sizes of those whose size is known."""
    return Rates({name: option.usd for name, option in _list_models(config) if _has_price(option)})


def add_price(ledger: Ledger, rates: Rates) -> Ledger:
    """Return the ledger of a failed task with its price and operations, as far as they can be computed."""
    try:
        return rates.apply(ledger)
    except Exception:  # the task's own error is already recorded
        return ledger


def _list_models(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """Yield each component that a model may answer for, with the option of that model."""
    yield "policy", config.policy
    yield "prm", config.prm
    yield "answer", config.answer if isinstance(config.answer, PolicyOption) else config.policy
    yield "simulator", config.simulator
    yield "judge", config.judge


def _has_price(option: Any) -> bool:
    try:
        return isinstance(option, Priced) and option.usd(0, 0) is not None
    except Exception:  # of a plug-in: raised again when a task is priced, which fails then
        return True
