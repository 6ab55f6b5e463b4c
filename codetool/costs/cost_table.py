"""Published prices of hosted models, and sizes of published models: `conf/costs/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Operational

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelPrice:
    """Price of a model at one service."""

    host: str
    """Host of the service's URL, such as `api.openai.com`; the same model costs something else elsewhere."""
    model: str
    """Name of the model in requests."""
    usd_per_million_in: NonNegativeFloat
    """Price of a million prompt tokens in USD."""
    usd_per_million_out: NonNegativeFloat
    """Price of a million new tokens in USD."""

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """Return the price of the tokens in USD."""
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CostTable:
    """Prices and sizes of models by name. What a model's own settings say wins."""

    prices: Annotated[tuple[ModelPrice, ...], Operational]
    """Prices of hosted models."""
    parameters: Annotated[Mapping[str, PositiveInt], Operational]
    """Number of parameters of models, by the name of the model."""

    def find_price(self, addresses: Sequence[str], model: str | None) -> ModelPrice | None:
        """Return the price of a model at the services of these addresses, None unless it is known and one price."""
        hosts = {urlsplit(address).hostname for address in addresses or [""]}
        found = [
            next((price for price in self.prices if (price.host, price.model) == (host, model)), None) for host in hosts
        ]
        rates = {price and (price.usd_per_million_in, price.usd_per_million_out) for price in found}
        return found[0] if len(rates) == 1 else None
