"""Settings of stage=recheck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RecheckConfig:
    """Settings of stage=recheck."""

    folder: Path | None
    """The run folder."""
    shown: Annotated[int, Field(strict=True, ge=0)]
    """Maximum number of changed verdicts that are printed."""
