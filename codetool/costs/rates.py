"""What tokens cost in USD and in floating-point operations, by the component that reads and writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from codetool.ledger import Ledger

Price = Callable[[int, int], float | None]
"""Returns the price of prompt tokens and new tokens in USD, None if it is unknown."""
TokenCounts = Mapping[str, tuple[int, int]]
"""Prompt tokens and new tokens by component."""
METHOD_COMPONENTS = ("policy", "prm", "answer")
"""Components whose operations count: those of the method, and not those of its environment and its judge."""
FLOPS_PER_PARAMETER = 2
"""Operations of a forward pass for each parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""


@dataclass(frozen=True)
class Rates:
    """Prices and sizes of a run's models."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    """Price by component; a component without a known price is missing."""
    parameters: Mapping[str, int] = field(default_factory=dict)
    """Number of parameters by component; a component of unknown size is missing."""

    def apply(self, ledger: Ledger) -> Ledger:
        """Return the ledger with `usd` and `flops`."""
        tokens = list_tokens(ledger)
        return replace(ledger, usd=self.compute_usd(tokens), flops=self.count_flops(tokens))

    def compute_usd(self, tokens: TokenCounts) -> float | None:
        """Return the price of the tokens whose price is known; None if no component has a price."""
        known = [price(*tokens.get(name, (0, 0))) for name, price in self.prices.items()]
        amounts = [amount for amount in known if amount is not None]
        return sum(amounts) if amounts else None

    def count_flops(self, tokens: TokenCounts) -> int | None:
        """Return 2 × parameters × tokens of policy, PRM and answer; None if one that has tokens is of unknown size."""
        used = {name: sum(tokens[name]) for name in METHOD_COMPONENTS if sum(tokens.get(name, (0, 0)))}
        if not used.keys() <= self.parameters.keys():
            return None
        return sum(FLOPS_PER_PARAMETER * self.parameters[name] * count for name, count in used.items())


def list_tokens(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """Return the tokens of a ledger by component."""
    return {
        "policy": (ledger.tokens_in, ledger.tokens_out),
        "prm": (ledger.prm_tokens, 0),
        "answer": (ledger.answer_tokens_in, ledger.answer_tokens_out),
        "simulator": (ledger.simulator_tokens_in, ledger.simulator_tokens_out),
        "judge": (ledger.judge_tokens_in, ledger.judge_tokens_out),
    }
