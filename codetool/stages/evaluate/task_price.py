"""The price of a task in USD, from the tokens that it has cost."""

from __future__ import annotations

from dataclasses import replace

from codetool.config.run_config import RunConfig
from codetool.interfaces import Priced
from codetool.types import Ledger


def compute_price(config: RunConfig, ledger: Ledger) -> float | None:
    """Return the cost of the policy's tokens, and of the PRM's if it has prices, in USD; None if unknown."""
    policy = config.policy.usd(ledger.tokens_in, ledger.tokens_out)
    prm = config.prm.usd(ledger.prm_tokens, 0) if isinstance(config.prm, Priced) else None
    return policy if policy is None or prm is None else policy + prm


def add_price(ledger: Ledger, config: RunConfig) -> Ledger:
    """Return the ledger with its price in USD, if it has none yet and the price is known."""
    try:
        usd = compute_price(config, ledger) if ledger.usd is None else ledger.usd
    except Exception:  # the task's own error is already recorded
        usd = None
    return replace(ledger, usd=usd)
