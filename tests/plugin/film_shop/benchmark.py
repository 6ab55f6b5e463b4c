"""Benchmark with a source of tool answers: what films cost in a shop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.types import Parameter, Task, Tool, ToolAnswer, ToolCall

SERVER = "https://film-shop.example/v1"
TITLE = Parameter("title", "path", "string", True)
GET_PRICE = Tool("GET_price", "GET", SERVER, "/price/{title}", "Price of a film in USD", (TITLE,))
PRICES = {"Alien": "7", "Heat": "9"}
"""Price in USD by title."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilmShop:
    """Settings of the benchmark."""

    count: PositiveInt
    """Number of tasks."""

    def tasks(self) -> Sequence[Task]:
        """Return one task for each film."""
        gold = (GET_PRICE.endpoint,)
        titles = sorted(PRICES)[: self.count]
        return [Task(title.lower(), f"What does {title} cost?", (GET_PRICE,), gold) for title in titles]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the answer is the price."""
        return answer == PRICES[task.id.capitalize()]

    def checksum(self) -> str:
        """Return the hex sha256 of the prices."""
        return _hash_prices()


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PriceList:
    """Source of tool answers that stands for the shop's service."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """Return the price, or 404 for a film that the shop does not have; None for a call of another service."""
        if not call.url.startswith(SERVER):
            return None
        price = PRICES.get(call.url.rpartition("/")[2])
        body = {"price": price} if price else {"error": "no such film"}
        return ToolAnswer(call, 200 if price else 404, json.dumps(body), "replica")

    def checksum(self) -> str:
        """Return the hex sha256 of the prices."""
        return _hash_prices()


def _hash_prices() -> str:
    return hashlib.sha256(repr(sorted(PRICES.items())).encode()).hexdigest()
