"""Subprocess that writes or uploads a W&B run. This is the only module that imports wandb.

    python -m codetool.tracking.wandb_worker write FOLDER < payload.json    writes an offline run below FOLDER/wandb
    python -m codetool.tracking.wandb_worker sync OFFLINE_FOLDER            uploads it

The threads, signal handlers, exit hooks and server process that wandb adds end with this process.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def write(folder: Path, payload: Mapping[str, Any]) -> dict[str, str]:
    """Write a whole offline run; return the name of its `folder` and the `base_url` of its server."""
    import wandb

    tables = payload["tables"]
    row_count = max((len(table["rows"]) for table in tables.values()), default=0)
    wandb.Table.MAX_ROWS = max(wandb.Table.MAX_ROWS, row_count)  # wandb drops further rows
    run = wandb.init(
        project=payload["project"],
        entity=payload["entity"],
        id=payload["id"],
        name=payload["id"],
        group=payload["group"],
        job_type=payload["job_type"],
        tags=payload["tags"],
        config=payload["config"],
        settings=_build_settings(wandb, folder),
    )
    for point in payload["curves"]:
        run.log({name: value for name, value in point.items() if name != "step"}, step=int(point["step"]))
    shown = {
        name: wandb.Table(columns=table["columns"], data=table["rows"], allow_mixed_types=True)
        for name, table in tables.items()
    }
    run.log(payload["values"] | shown)
    if payload["report"]:
        report = wandb.Artifact(f"report-{payload['id']}"[:128], type="report")
        report.add_file(payload["report"])
        run.log_artifact(report)
    run.finish()
    return {"folder": Path(run.settings.sync_dir).name, "base_url": run.settings.base_url}


def _build_settings(wandb: Any, folder: Path) -> Any:
    """Return settings for an offline, silent run without wandb's own data: host, user, command, code, packages."""
    placeholders = dict.fromkeys(("host", "username", "email", "program", "x_executable"), "-")
    return wandb.Settings(
        mode="offline",
        root_dir=str(folder),
        symlink=False,
        console="off",
        silent=True,
        quiet=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        **placeholders,
    )


def sync(folder: str) -> None:
    """Upload an offline run; wandb prints to standard output."""
    from wandb.cli.cli import cli

    cli(["sync", folder], standalone_mode=False)


def main() -> None:
    """Run the action that the command line names."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the parent, even if it is killed
    action, folder = sys.argv[1:]
    if action == "sync":
        sync(folder)
    else:
        print(json.dumps(write(Path(folder), json.load(sys.stdin))))


if __name__ == "__main__":
    main()
