"""Settings of stage=compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CompareConfig:
    """Settings of stage=compare."""

    runs: tuple[Path, ...]
    """Run folders, or folders of sweeps, which stand for their cells."""
    baseline: str | None
    """Folder, name of the folder, label or number of the system that the others are compared with; None: the first."""
    folder: Path | None
    """Folder for the results; None for one that is named by the compared runs."""
    trees: Annotated[int, Field(strict=True, ge=0)]
    """Maximum number of tasks of each kind whose trees the page shows."""

    @field_validator("runs", mode="before")
    @classmethod
    def _to_tuple(cls, folders: Any) -> Any:
        return (folders,) if isinstance(folders, str) else tuple(folders or ())

    @field_validator("baseline", mode="before")
    @classmethod
    def _to_text(cls, baseline: Any) -> Any:
        return str(baseline) if isinstance(baseline, int) else baseline
