"""Addresses of model servers that another process of the run has started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from codetool.model_types import ServedModel, Weights


@dataclass(frozen=True)
class FixedServers:
    """Model servers whose addresses are known; an asynchronous context manager that starts and ends nothing."""

    served: Mapping[Weights, ServedModel]

    async def serve(self, weights: Weights) -> ServedModel:
        """Return the address and name of a model."""
        return self.served[weights]

    async def __aenter__(self) -> Self:
        """Return the servers."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the servers as they are."""
