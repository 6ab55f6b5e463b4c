"""What a run tells its loggers: who it is, the values of its result, and how logging went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table of plain values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class RunContent:
    """The values, tables and curves of a result."""

    values: Mapping[str, float]
    """Final values by their names."""
    tables: Mapping[str, Table]
    curves: Sequence[Mapping[str, float]] = ()
    """Points of curves, each with an ascending `step`; points with the same step are merged."""
    report: Path | None = None
    """HTML file that is stored with the result."""


@dataclass(frozen=True)
class RunInfo:
    """A run that is logged."""

    folder: Path
    """The run folder. Its name is the run's id, and its `config.yaml` holds the run's settings."""
    group: str | None
    """Name of the experiment or sweep that the run belongs to."""
    stage: str
    tags: Sequence[str]
    """Words that describe the run, such as the benchmark, search, policy and PRM."""
    upload: bool = True
    """Whether to upload the run; False keeps it on this machine."""


@dataclass(frozen=True)
class SyncStatus:
    """Result of an upload: a message, whether it is a warning, and the offline run that is not uploaded yet, if any."""

    message: str
    is_warning: bool = False
    offline_folder: Path | None = None
