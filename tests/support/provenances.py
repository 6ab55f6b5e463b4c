"""Gives a run folder that a test writes by hand its `provenance.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codetool.runs.identity import Identity
from codetool.runs.provenance import record_session


def write_provenance(
    folder: Path, checksums: Mapping[str, str] | None = None, settings: Mapping[str, Any] | None = None
) -> None:
    """Record one finished command for the folder."""
    with record_session(folder, Identity(settings or {}, checksums or {}, "0.1.0"), {}, ["python", "run.py"]):
        pass
