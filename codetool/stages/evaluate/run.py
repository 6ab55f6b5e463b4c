"""Run stage=evaluate, and the search of stage=collect, from settings to result files: folder, log, search, summary."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from codetool.config.export_formats import load_format
from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.summary import RunSummary, encode_summary
from codetool.models.hub_model import HubModel
from codetool.prm.ensemble import list_members
from codetool.runs import journal
from codetool.runs.identity import Identity
from codetool.runs.provenance import record_session
from codetool.runs.repeats import repeat_tasks
from codetool.runs.shard import Shard
from codetool.runs.task_ids import select_tasks
from codetool.stages import run_folder
from codetool.stages.conclusion import ResultFolder, find_larger_result, open_result_folder
from codetool.stages.evaluate.announcement import announce_run, print_estimate
from codetool.stages.evaluate.changed_plugin import describe_changed_plugin
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.evaluate.interrupted_export import export_if_interrupted
from codetool.stages.evaluate.repeat import apply_source_settings, refuse_other_tasks
from codetool.stages.evaluate.reuse import has_same_draws, refuse_other_draws
from codetool.stages.evaluate.run_identity import compute_identity, select_settings
from codetool.stages.evaluate.run_limit import is_stopped_by_run
from codetool.stages.evaluate.run_summary import find_reached_limit, write_summary
from codetool.stages.evaluate.summary_display import print_summary
from codetool.stages.evaluate.task_price import check_price_limits
from codetool.stages.evaluate.training_overlap import log_training_overlap
from codetool.stages.evaluate.unused_prm import drop_unused_prm
from codetool.stages.fault_journal import record_faults
from codetool.stages.hub_models import (
    download_models,
    find_hub_models,
    keep_recorded_commits,
    print_downloads,
    record_models,
)
from codetool.stages.judge.judge_run import check_judge_reachable, check_judge_settings, judge_answers
from codetool.stages.logged_run import describe_search, describe_used_adapters, log_result
from codetool.stages.run_folder import RunFolder
from codetool.stages.run_log import log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.shards.run_shards import (
    check_shard,
    find_part,
    leave_out_shard,
    make_part_config,
    merge_and_run,
    run_shard,
)
from codetool.stages.shards.shard_folder import ShardFolder, list_shards
from codetool.stages.spent_journal import record_spending
from codetool.stages.wandb_content import build_task_content
from codetool.tracking.run_content import RunInfo, SyncStatus
from codetool.tracking.run_loggers import start_run_loggers
from codetool.types import Task

log = logging.getLogger("codetool")

FOLDER_GROUPS = ("benchmark", "search", "policy", "prm")
"""Configuration groups whose options are part of a run folder's name."""

Conclude = Callable[[ResultFolder, Sequence[Task], RunSummary], None]
"""Called at the end of a run to write and print a stage's summary."""


def show_metrics(target: ResultFolder, tasks: Sequence[Task], summary: RunSummary) -> None:
    """Print the metrics of the tasks."""
    print_summary(summary, target.folder, Console(), target.kept)


def run(
    config: RunConfig,
    choices: Mapping[str, str],
    console: Console,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
    share: Sequence[Path] = (),
    conclude: Conclude | None = None,
) -> RunOutcome:
    """Run every requested task, write the result files, and return the outcome.

    `choices` names the option of each group; with the identity they name the folder,
    `<benchmark>-<search>-<policy>-<prm>-<hash8>`. If `sweep` is the name of a sweep, only warnings are printed, and the
    run waits for a concurrent cell with the same identity; `label` names its cell. Draws in the run folders of `share`
    are reused if their settings are equal, which changes neither candidates nor costs. `upload=False` keeps the W&B run
    offline. `conclude` is called at the end; without it the metrics are printed, except in a sweep. The judge is asked
    after the tasks, but checked before them. If the folder holds a result over more tasks than requested now, its files
    and W&B run are left as they are. Raises CodeToolError.
    """
    notes = console if sweep is None else None
    config, choices = drop_unused_prm(*apply_source_settings(config, choices, notes), notes)
    check_judge_settings(config)
    check_shard(config)
    config.engine.check()
    check_price_limits(config)
    tasks: Sequence[Task] = repeat_tasks(
        select_tasks(config.benchmark.tasks(), config.ids, config.limit), config.repeats
    )
    refuse_other_tasks(config, tasks)
    names, parent = [choices[group] for group in FOLDER_GROUPS], config.outputs / config.stage
    config = keep_recorded_commits(config, parent, "-".join(names), select_settings(config, choices))
    identity = compute_identity(config, choices)
    refuse_other_draws(config, identity)
    path = run_folder.select_folder(parent / "-".join([*names, identity.digest]), config.fresh)
    models = find_hub_models(config)
    if sweep is None and (line := describe_changed_plugin(path, identity)):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    ids = tuple(task.id for task in tasks)
    if config.dry_run:
        path, tasks = find_part(path, tasks, config.shard)
        done = run_folder.read_finished(path)
        announce_run(config.stage, choices, tasks, path, done, console)
        estimate = print_estimate(config, path, tasks, done, console)
        print_downloads(models, console, "would be downloaded")
        return RunOutcome(path, tasks=ids, estimate=estimate.encode())
    logged = describe_search(config, choices, path, names, sweep=sweep, label=label, upload=upload)
    shared = [other for other in share if other != path and has_same_draws(identity, other)]
    conclude = conclude or (show_metrics if sweep is None else None)
    job = _RunJob(config, choices, tasks, identity, models, console, conclude, path, sweep is not None, logged, shared)
    if config.shard is not None:
        return _run_shard(job, config.shard, names)
    return merge_and_run(path, tasks, job.run) if list_shards(path) else job.run()


def _run_shard(job: _RunJob, shard: Shard, names: Sequence[str]) -> RunOutcome:
    """Run a shard of a run, which its loggers show in a group of the run's name."""

    def run_part(part: ShardFolder) -> RunOutcome:
        logged = describe_search(job.config, job.choices, part.path, names, sweep=job.path.name, label=f"shard={shard}")
        config = make_part_config(job.config, shard, part.path)
        own = replace(job, config=config, tasks=part.tasks, path=part.path, logged=logged, conclude=None)
        return own.run(check_claim=part.claim.check)

    whole = replace(job, config=leave_out_shard(job.config))
    runs_again = partial(_runs_again, is_spent=lambda: False)
    return run_shard(shard, job.path, job.tasks, job.console, runs_again, run_part, whole.run)


def _runs_again(line: Mapping[str, Any], *, is_spent: Callable[[], bool]) -> bool:
    """Whether a task runs again: it failed internally, or a budget of the run ended it that is not spent any more."""
    return is_internal(line) or (is_stopped_by_run(line) and not is_spent())


@dataclass(frozen=True)
class _RunJob:
    """The checked inputs of a run."""

    config: RunConfig
    choices: Mapping[str, str]
    tasks: Sequence[Task]
    identity: Identity
    models: Mapping[str, HubModel]
    console: Console
    conclude: Conclude | None
    path: Path
    """The run folder."""
    is_cell: bool
    """Whether the run is a cell of a sweep, where nothing is printed at the end."""
    logged: RunInfo
    shared: Sequence[Path]
    """Run folders whose draws this run reuses."""

    def run(
        self,
        *,
        prepare: Callable[[], object] = lambda: None,
        check_claim: Callable[[], None] = lambda: None,
        runs_tasks: bool = True,
    ) -> RunOutcome:
        """Run the tasks that are missing if `runs_tasks`, write the result files, and return the outcome.

        `prepare` and `check_claim` are passed to `open_folder`.
        """
        config, path, ids = self.config, self.path, tuple(task.id for task in self.tasks)
        is_spent = cache(lambda: find_reached_limit(config, path) is not None)
        with run_folder.open_folder(
            path,
            log_to_file(path / "log.txt", self.console, logging.WARNING if self.is_cell else logging.INFO),
            wait=self.is_cell,
            tasks=frozenset(ids if runs_tasks else ()),
            runs_again=partial(_runs_again, is_spent=is_spent) if runs_tasks else is_internal,
            prepare=prepare,
            check_claim=check_claim,
        ) as folder:
            if not self.is_cell:
                announce_run(config.stage, self.choices, self.tasks, path, folder.done, self.console)
            larger = find_larger_result(path, len(ids))
            summary, status = _run_tasks(self, folder, larger, runs_tasks)
            return RunOutcome(path, len(summary.failures), ids, encode_summary(summary), status)


def _run_tasks(
    job: _RunJob, folder: RunFolder, larger: int | None, runs_tasks: bool
) -> tuple[RunSummary, SyncStatus | None]:
    """Search the tasks that are not done, write the summary files, and return the summary and what became of its log.

    `larger` is the number of tasks of a larger result in the folder, whose files and W&B run are left as they are.
    """
    config, path = job.config, folder.path
    if larger is None:
        write_config(config, path)
    done = len(folder.done)
    with ExitStack() as stack:
        recorded = record_models(job.models)
        session = stack.enter_context(
            record_session(path, job.identity, config.settings, get_command(), done=done, models=recorded)
        )
        loggers = stack.enter_context(start_run_loggers(config.logger if larger is None else {}, job.logged))
        log_training_overlap(config, job.tasks)
        runs_tasks = runs_tasks and find_reached_limit(config, path) is None
        if runs_tasks and any(task.id not in folder.done for task in job.tasks):
            download_models(job.models)
            interrupted = export_if_interrupted(config, job.choices, path, job.tasks)
            with record_faults(path), record_spending(path) as spending, interrupted:
                check_judge_reachable(config)
                evaluate(config, folder, job.tasks, job.console, session.record_sandbox, job.shared, loggers, spending)
        with record_spending(path), open_result_folder(path, larger) as target:
            if larger is not None:
                write_config(config, target.folder)
            summary = _judge_and_summarize(config, job.choices, target, job.tasks, job.console)
            if job.conclude is not None:
                job.conclude(target, job.tasks, summary)
        if larger is not None:
            return summary, None
        used = describe_used_adapters(config.policy, *list_members(config.prm))
        content = build_task_content(path, tuple(task.id for task in job.tasks), used)
        return summary, log_result(loggers, content, quiet=job.is_cell)


def _judge_and_summarize(
    config: RunConfig, choices: Mapping[str, str], target: ResultFolder, tasks: Sequence[Task], console: Console
) -> RunSummary:
    """Ask the judge, write the summary files, and return the summary."""
    path = target.folder
    try:
        with record_faults(path):
            judging = judge_answers(config, path, tasks, console)
    except CodeToolError:
        write_summary(path, tasks, config, {})  # the search's results are kept if the judge fails
        raise
    summary = write_summary(path, tasks, config, judging)
    if config.stage == "evaluate" and target.kept is None:
        for name in config.export:
            export = load_format("evaluate", name)
            log.info("results in the layout of %s: %s", name, export(config, choices, path, tasks))
    return summary


def write_config(config: RunConfig, path: Path) -> None:
    """Write the resolved settings to `config.yaml`."""
    journal.atomic_write(path / "config.yaml", [yaml.safe_dump(config.settings, sort_keys=False).encode()])
