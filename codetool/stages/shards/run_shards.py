"""Run a shard of a run, and merge the shards into the run's own files once all have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.runs.shard import Shard
from codetool.stages.run_folder import SHARDS_FOLDER
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.shards.merge_shards import merge_shards
from codetool.stages.shards.shard_folder import (
    RECORDED_FILE,
    RunsAgain,
    ShardFolder,
    hold_merge_claim,
    list_shards,
    list_unfinished,
    open_shard,
    refuse_running_shards,
)
from codetool.tools.broker import BrokerConfig
from codetool.types import Task

MAX_NAMED = 5
"""Maximum number of shards that a line names."""


class RunWhole(Protocol):
    """Runs the whole run in its folder."""

    def __call__(
        self, *, prepare: Callable[[], object], check_claim: Callable[[], None], runs_tasks: bool
    ) -> RunOutcome:
        """Call `prepare` once the folder is open, run the tasks that are missing if `runs_tasks`, and summarize."""
        ...


def run_shard(
    shard: Shard,
    run: Path,
    tasks: Sequence[Task],
    console: Console,
    runs_again: RunsAgain,
    run_part: Callable[[ShardFolder], RunOutcome],
    run_whole: RunWhole,
) -> RunOutcome:
    """Run a shard of a run over `tasks`, and merge the shards if this is the last one; return the last outcome.

    Raises ConfigError if another process runs this shard.
    """
    with open_shard(run, shard, tasks, runs_again) as part:
        _print(console, f"shard {shard}: {len(part.tasks)} of {len(tasks)} tasks")
        outcome = run_part(part) if part.tasks else RunOutcome(part.path)
    unfinished = list_unfinished(run, shard, tasks)
    if not unfinished:
        return merge_and_run(run, tasks, run_whole, runs_tasks=False)
    named = ", ".join(map(str, unfinished[:MAX_NAMED])) + (", …" if len(unfinished) > MAX_NAMED else "")
    _print(
        console, f"shard {shard} is done. Not done yet: {len(unfinished)} of {shard.count} ({named}); the last merges"
    )
    return outcome


def merge_and_run(run: Path, tasks: Sequence[Task], run_whole: RunWhole, *, runs_tasks: bool = True) -> RunOutcome:
    """Merge the shards of a run, run the tasks that are missing if `runs_tasks`, and return the outcome.

    Raises ConfigError if tasks are to run while a shard is running, or if another process merges the shards.
    """
    if runs_tasks:
        refuse_running_shards(run)
    with hold_merge_claim(run, wait=not runs_tasks) as claim:
        prepare = partial(merge_shards, run, list_shards(run), [task.id for task in tasks])
        return run_whole(prepare=prepare, check_claim=claim.check, runs_tasks=runs_tasks)


def refuse_shard(config: RunConfig, reason: str) -> None:
    """Raise ConfigError with the reason if the settings name a shard."""
    if config.shard is not None:
        raise ConfigError(f"shard={config.shard}: {reason}.")


def check_shard(config: RunConfig) -> None:
    """Raise ConfigError for settings that do not go together with a shard."""
    if config.shard is not None and config.fresh:
        raise ConfigError(
            f"shard={config.shard} fresh=true: each shard would start a folder of its own. Leave out fresh=true, and "
            "name a new outputs=FOLDER to start over."
        )


def find_part(run: Path, tasks: Sequence[Task], shard: Shard | None) -> tuple[Path, Sequence[Task]]:
    """Return the folder and the tasks of a shard, or without one those of the whole run."""
    if shard is None:
        return run, tasks
    return run / SHARDS_FOLDER / shard.name, [task for task in tasks if shard.has(task.id)]


def make_part_config(config: RunConfig, shard: Shard, folder: Path) -> RunConfig:
    """Return the settings of a shard: its share of the run's budget, and a file of its own for recorded answers."""
    tools: Any = config.tools
    if isinstance(tools, BrokerConfig) and tools.record_to is not None and tools.mode in ("live", "simulated"):
        shared = (tools.record_to,) if tools.record_to.is_file() else ()
        tools = replace(tools, recordings=(*tools.recordings, *shared), record_to=folder / RECORDED_FILE)
    return replace(config, tools=tools, run_budget=config.run_budget.divide(shard.count))


def leave_out_shard(config: RunConfig) -> RunConfig:
    """Return the settings of the whole run."""
    return replace(config, shard=None, settings={**config.settings, "shard": None})


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
