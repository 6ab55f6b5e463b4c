"""Model servers that a run starts and ends itself: vLLM, one process for all models of one base.

Options ask through `codetool.interfaces.ModelServers`: `served = await servers.serve(weights)`, then speak to
`served.base_url` as the model `served.model` (OpenAI-compatible: chat/completions, completions, /tokenize). They never
start or end anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from codetool.errors import MissingError
from codetool.types import ServedModel, Weights


class VllmServers:
    """The servers of one run."""

    def __init__(self, planned: Sequence[Weights], folder: Path) -> None:
        self._planned, self._folder = tuple(planned), folder

    async def serve(self, weights: Weights) -> ServedModel:
        """Where the model answers. Raises MissingError where it cannot be served."""
        raise MissingError("vLLM is not there yet")


@asynccontextmanager
async def model_servers(planned: Sequence[Weights], folder: Path) -> AsyncIterator[VllmServers]:
    """The servers, none of them started yet; all are ended afterwards. `planned` are the weights the run will ask for.

    Their logs are `vllm.log` in `folder`.
    """
    yield VllmServers(planned, folder)
