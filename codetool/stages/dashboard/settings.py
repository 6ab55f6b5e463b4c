"""Settings of stage=dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DashboardConfig:
    """Settings of stage=dashboard."""

    sweep: Path | None
    """Folder of a sweep that has ended; None for no page."""
    prm_runs: tuple[Path, ...]
    """Folders of stage=evaluate_prm."""
    project: Annotated[str, Field(min_length=1)] | None
    """W&B project in which the workspace and the report are saved; None for none."""
    entity: str | None
    """User or team that owns the project; None for the API key's default."""
    connect_timeout: Annotated[float, Field(gt=0)]
    """Seconds to wait for the W&B server's first answer."""
    upload_timeout: Annotated[float, Field(gt=0)]
    """Maximum duration of saving, in seconds."""

    @field_validator("prm_runs", mode="before")
    @classmethod
    def _to_tuple(cls, folders: Any) -> Any:
        return (folders,) if isinstance(folders, str) else folders
