"""For options that need no model server: asking for one is a failure."""

from __future__ import annotations

from codetool.model_types import ServedModel, Weights


class NoServers:
    async def serve(self, weights: Weights) -> ServedModel:
        raise AssertionError(f"no server was expected to be asked for, but {weights} was")


NO_SERVERS = NoServers()
