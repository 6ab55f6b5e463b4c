"""Two tasks about the prices of a film shop, with checked answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.types import Parameter, Task, Tool

SERVER = "https://film-shop.example/v1"
TITLE = Parameter("title", "path", "string", True)
PRICE = Tool("GET_price", "GET", SERVER, "/price/{title}", "Price of a film", (TITLE,))
PRICES = {"Alien": "7", "Heat": "9"}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilmShop:
    """Settings of the benchmark; it has no setting `observation`."""

    count: PositiveInt
    """Tasks."""

    def tasks(self) -> Sequence[Task]:
        """One task a film."""
        names = sorted(PRICES)[: self.count]
        return [Task(name.lower(), f"What does {name} cost?", (PRICE,), gold=(PRICE.endpoint,)) for name in names]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Whether the answer is the price."""
        return answer == PRICES[task.id.capitalize()]

    def checksum(self) -> str:
        """Sha256 of the prices."""
        return hashlib.sha256(repr(sorted(PRICES.items())).encode()).hexdigest()
