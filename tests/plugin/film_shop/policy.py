"""Policy without a language model: it knows one program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import ConfigDict, InstanceOf
from pydantic.dataclasses import dataclass

from codetool.interfaces import ModelServers, Prompt
from codetool.model_types import Sampling
from codetool.types import Candidate, Node, Task
from film_shop.benchmark import SERVER

PROGRAM = """##Step 1: Ask the shop.
Python Code:
```
import requests
print(requests.get("{server}/price/{title}").json()["price"])
```
[Step 1 Finished]
[All Finished]"""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ShopPolicy:
    """Settings of the policy, which is its own live object as it needs no resource."""

    prompt: InstanceOf[Prompt]
    """Format in which it writes."""

    @property
    def sampling(self) -> Sampling:
        """Return no sampling settings, as nothing is drawn."""
        return Sampling(None, None, None)

    def checksum(self) -> None:
        """Return None: no files determine what it writes."""

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """Return 0: its tokens cost nothing. None would say that their price is not known."""
        return 0.0

    def weights(self) -> None:
        """Return None: no server has to be started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[ShopPolicy]:
        """Yield this object."""
        yield self

    async def propose(
        self, task: Task, path: Sequence[Node], n: int, *, first: int = 0, seed: int = 0, **other: Any
    ) -> Sequence[Candidate]:
        """Return programs; every second one asks for a film that the shop does not have."""
        titles = [task.id.capitalize() if index % 2 == 0 else "Nothing" for index in range(first, first + n)]
        texts = [PROGRAM.format(server=SERVER, title=title) for title in titles]
        return [Candidate(text, self.prompt.parse(text, 1, task), 10, 20) for text in texts]

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> ShopPolicy:
        """Return the same policy, which composes no answers."""
        return self
