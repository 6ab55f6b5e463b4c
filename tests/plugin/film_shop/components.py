"""A search strategy, a PRM, a policy and a source of tool answers, each the least that its Protocol allows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Expand, ModelServers, Prompt
from codetool.model_types import Sampling, Scores
from codetool.types import Candidate, Execution, Node, Step, Task, ToolAnswer, ToolCall
from film_shop.benchmark import PRICES, SERVER

PROGRAM = """##Step 1: Ask the shop.
Python Code:
```
import requests
print(requests.get("{server}/price/{title}").json()["price"])
```
[Step 1 Finished]
[All Finished]"""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Widest:
    """The best child of the root, of so many."""

    depth: PositiveInt
    children: PositiveInt

    async def run(self, root: Node, expand: Expand) -> Node:
        """The child of highest cumulative reward."""
        return max(await expand(root, self.children), key=lambda node: node.cumulative, default=root)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LengthPRM:
    """Scores a step by its length, the shorter the better."""

    limit: PositiveInt

    @property
    def sees_observation(self) -> bool:
        """False."""
        return False

    def checksum(self) -> None:
        """None."""

    def weights(self) -> None:
        """None."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[LengthPRM]:
        """This object."""
        yield self

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Between 0 and 1."""
        return Scores(tuple(1 / (1 + len(step.text) / self.limit) for step in candidates))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class ShopPolicy:
    """Writes the one program that there is; every second candidate asks for a film that the shop does not have."""

    prompt: Any

    @property
    def sampling(self) -> Sampling:
        """Nothing is drawn."""
        return Sampling(None, None, None)

    def checksum(self) -> None:
        """None."""

    def usd(self, tokens_in: int, tokens_out: int) -> None:
        """None."""

    def weights(self) -> None:
        """None."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[ShopPolicy]:
        """This object."""
        yield self

    async def propose(
        self, task: Task, path: Sequence[Node], n: int, *, first: int = 0, seed: int = 0, **more: Any
    ) -> Sequence[Candidate]:
        """Programs by index."""
        titles = [task.id.capitalize() if index % 2 == 0 else "Nothing" for index in range(first, first + n)]
        texts = [PROGRAM.format(server=SERVER, title=title) for title in titles]
        return [Candidate(text, self.prompt.parse(text, 1, task), 10, 20) for text in texts]

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> ShopPolicy:
        """The same."""
        return self


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PriceList:
    """Answers the shop's calls."""

    def checksum(self) -> str:
        """The list's version."""
        return "1"

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The price, 404 for a film that there is not, None for another service."""
        if not call.url.startswith(SERVER):
            return None
        price = PRICES.get(call.url.rpartition("/")[2])
        body = {"price": price} if price else {"error": "no such film"}
        return ToolAnswer(call, 200 if price else 404, json.dumps(body), "replica")
