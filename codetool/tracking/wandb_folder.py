"""The folder `wandb` in a run folder: its offline runs, and what is known about them.

Every process that logs to the W&B run adds an offline run, a folder `offline-run-TIME-ID`; all have the same id, and
together they are the history of the W&B run. `wandb sync FOLDER/wandb` uploads those that are not uploaded yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codetool.runs import journal

STATUS_FILE = "written.json"
"""File with the status of the last offline run: its `folder`, the `base_url` of its server, its `session`, the `digest`
of the result in it and, after an upload, the `address` of its web page."""
LOCK_FILE = "writer.lock"


def list_offline_runs(folder: Path, *, unsynced: bool = False) -> list[Path]:
    """List the offline runs in the order of their starts; `unsynced` leaves out those that are uploaded."""
    runs = sorted(run for run in folder.glob("offline-run-*") if run.is_dir())
    return [run for run in runs if not (unsynced and any(run.glob("*.synced")))]


def link_offline_runs(folder: Path, runs: Iterable[Path]) -> None:
    """Link offline runs of other folders into this one, so that one `wandb sync` uploads them with its own."""
    for run in runs:
        folder.mkdir(exist_ok=True)
        (folder / run.name).symlink_to(os.path.relpath(run, folder))


def remove_links(folder: Path) -> None:
    """Remove the links to offline runs of other folders."""
    for link in folder.glob("offline-run-*"):
        if link.is_symlink():
            link.unlink()


def read_status(folder: Path) -> dict[str, Any]:
    """Read the status; empty before the first run."""
    try:
        status: dict[str, Any] = json.loads((folder / STATUS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return status


def write_status(folder: Path, status: Mapping[str, Any]) -> None:
    """Replace the status."""
    journal.atomic_write(folder / STATUS_FILE, [json.dumps(status).encode()])
