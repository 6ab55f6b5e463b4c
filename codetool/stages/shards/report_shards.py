"""stage=report of a run in shards: merge what they have finished so far, and write `metrics.json` and the report.

The shards may be running; what they finish later is merged by the next command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from rich.console import Console

from codetool.config.run_config import RunConfig, escape_interpolations, validate
from codetool.errors import CodeToolError
from codetool.evaluation.result_files import RESULTS
from codetool.runs import journal
from codetool.stages.evaluate.run_summary import write_summary
from codetool.stages.foreign_modules import refuse_foreign_module
from codetool.stages.report import load_requested_tasks, read_settings, report
from codetool.stages.run_folder import lock_folder
from codetool.stages.shards.merge_shards import merge_shards
from codetool.stages.shards.shard_folder import hold_merge_claim, list_shards
from codetool.types import Task


def merge_and_report(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Merge the shards of the run folder if it has any, then write its report and return 0. Raises CodeToolError."""
    folder: Path | None = config.report.folder
    shards = list_shards(folder) if folder is not None else []
    shards = [shard for shard in shards if (shard / "config.yaml").is_file()]
    if folder is not None and shards and not config.dry_run:
        with ExitStack() as stack:
            stack.enter_context(hold_merge_claim(folder, wait=False))
            lock_folder(folder, stack, False, (RESULTS,))
            _merge(folder, shards, console)
    return report(config, choices, console)


def _merge(folder: Path, shards: Sequence[Path], console: Console) -> None:
    newest = max(shards, key=lambda shard: (shard / "config.yaml").stat().st_mtime)
    settings = {**read_settings(newest), "shard": None}
    tasks: Sequence[Task] = ()
    problem: Exception | None = None
    try:
        tasks = load_requested_tasks(newest, settings)
    except (CodeToolError, OSError) as error:
        problem = error
    results = merge_shards(folder, shards, [task.id for task in tasks])
    (folder / RESULTS).touch()
    journal.atomic_write(folder / "config.yaml", [yaml.safe_dump(settings, sort_keys=False).encode()])
    try:
        if tasks:
            write_summary(folder, tasks, _build_config(settings), {})
    except CodeToolError as error:
        problem = error
    _print(console, f"{len(shards)} shards merged: {results} results")
    if problem is not None:
        _print(console, f"metrics.json is not written anew, the run's command without shard= does that: {problem}")


def _build_config(settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run. Raises CodeToolError if they cannot be used here."""
    refuse_foreign_module(settings)
    return validate(OmegaConf.create(escape_interpolations(settings)))


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
