"""The option `prm=none`: no process reward model, so rewards have no latent term."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.interfaces import ModelServers
from codetool.runs.operational import Operational


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoPRM:
    """No PRM: the reward of a step is its spot reward alone."""

    path: Annotated[Path | None, Operational]
    """Not read. It exists so that a sweep can set `prm.path=FOLDER` for methods with and without a PRM."""

    def checksum(self) -> None:
        """None: there are no files."""

    def weights(self) -> None:
        """None: nothing is served."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[None]:
        """Yield None in place of a PRM."""
        yield None
