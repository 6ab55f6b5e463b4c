"""What a run tells its loggers: who it is, the values of its result, and how logging went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table of plain values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class ArtifactFiles:
    """Files that a run has made or used, and that others use: process data, an adapter, a report.

    The name and the content identify an artifact: the run that makes it and the run that uses it give the same ones, so
    that W&B connects the two.
    """

    name: str
    type: str
    """Kind of artifact: `process-data`, `model` or `report`."""
    files: Mapping[str, Path]
    """Files and folders by the name that they have in the artifact."""
    is_input: bool = False
    """Whether the run has used the files, and not made them."""
    changes: bool = False
    """Whether the files may be written again later, so that a copy of them is kept until they are uploaded."""


@dataclass(frozen=True)
class RunContent:
    """The values, tables, figures and files of a result."""

    values: Mapping[str, float]
    """Final values by their names."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float]] = ()
    """Points of curves, each with an ascending `step`, for a logger that has not logged them while the run went on."""
    figures: Mapping[str, Path] = field(default_factory=dict)
    """Images, SVG or HTML files by name."""
    artifacts: Sequence[ArtifactFiles] = ()


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
    name: str | None = None
    """Name to show; None for the id."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The chosen option of each group, by `group` or `group@place`."""
    config: Mapping[str, Any] | None = None
    """Values that describe the run; None for the settings of its folder."""
    axis: str = "step"
    """Name of the steps that points are logged at, such as `trainer/global_step`."""
    upload: bool = True
    """Whether to upload the run; False keeps it on this machine."""


@dataclass(frozen=True)
class SyncStatus:
    """Result of an upload: a message, whether it is a warning, and the folder that still waits for an upload."""

    message: str
    is_warning: bool = False
    offline_folder: Path | None = None
