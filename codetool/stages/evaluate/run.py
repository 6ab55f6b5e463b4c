"""Run stage=evaluate, and the search of stage=collect, from settings to result files: folder, log, search, summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from codetool.config.export_formats import load_format
from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.summary import RunSummary, encode_summary, summarize_results
from codetool.models.hub_model import HubModel
from codetool.models.vllm_servers import USAGE_FILE
from codetool.prm.ensemble import list_members
from codetool.runs import journal
from codetool.runs.code_version import read_code_version
from codetool.runs.identity import Identity
from codetool.runs.provenance import (
    count_results_by_code,
    describe_other_code,
    read_sandbox_events,
    record_session,
)
from codetool.runs.repeats import map_to_originals, repeat_tasks
from codetool.runs.task_ids import select_tasks
from codetool.stages import run_folder
from codetool.stages.conclusion import ResultFolder, find_larger_result, open_result_folder
from codetool.stages.estimates.estimate import Estimate, describe_estimate
from codetool.stages.estimates.estimate_run import estimate_run
from codetool.stages.evaluate.changed_plugin import describe_changed_plugin
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.evaluate.repeat import apply_source_settings, refuse_other_tasks
from codetool.stages.evaluate.reuse import has_same_draws, refuse_other_draws
from codetool.stages.evaluate.run_identity import compute_identity, select_settings
from codetool.stages.evaluate.run_limit import RunLimit, describe_stop, is_stopped_by_run
from codetool.stages.evaluate.spent_summary import summarize_spent
from codetool.stages.evaluate.summary_display import print_summary
from codetool.stages.evaluate.task_price import check_price_limits, find_rates
from codetool.stages.evaluate.tool_counts import read_counts
from codetool.stages.evaluate.training_overlap import log_training_overlap
from codetool.stages.evaluate.unused_prm import drop_unused_prm
from codetool.stages.fault_journal import read_faults, record_faults
from codetool.stages.hub_models import (
    download_models,
    find_hub_models,
    keep_recorded_commits,
    print_downloads,
    record_models,
)
from codetool.stages.judge.judge_run import check_judge_reachable, check_judge_settings, judge_answers
from codetool.stages.logged_run import describe_search, describe_used_adapters, log_result
from codetool.stages.report import write_report_if_possible
from codetool.stages.run_folder import RunFolder
from codetool.stages.run_log import choose_level, log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.spent_journal import Spending, record_spending
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
    check_price_limits(config)
    tasks = repeat_tasks(select_tasks(config.benchmark.tasks(), config.ids, config.limit), config.repeats)
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
        done = run_folder.read_finished(path)
        _announce(config.stage, choices, tasks, path, done, console)
        estimate = _print_estimate(config, path, tasks, done, console)
        print_downloads(models, console, "would be downloaded")
        return RunOutcome(path, tasks=ids, estimate=estimate.encode())
    run_log = log_to_file(path / "log.txt", console, choose_level(sweep))
    runs_again = partial(_runs_again, is_spent=find_reached_limit(config, path) is not None)
    wait = sweep is not None
    with run_folder.open_folder(path, run_log, wait=wait, tasks=frozenset(ids), runs_again=runs_again) as folder:
        if sweep is None:
            _announce(config.stage, choices, tasks, path, folder.done, console)
        logged = describe_search(config, choices, path, names, sweep=sweep, label=label, upload=upload)
        conclude = conclude or (show_metrics if sweep is None else None)
        job = _RunJob(config, choices, tasks, identity, models, console, conclude, sweep is not None, logged)
        shared = [other for other in share if other != path and has_same_draws(identity, other)]
        larger = find_larger_result(path, len(tasks))
        summary, status = _run_tasks(job, folder, shared, larger)
        return RunOutcome(path, len(summary.failures), ids, encode_summary(summary), status)


def _print_estimate(
    config: RunConfig, path: Path, tasks: Sequence[Task], done: Mapping[str, Any], console: Console
) -> Estimate:
    """Print what a dry run tells: the expected costs, other code that has worked on the folder, and damage in it."""
    estimate = estimate_run(config, path, tasks, done)
    for line in describe_estimate(estimate):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    print_other_code(config, path, console)
    for line in run_folder.describe_damage(path):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return estimate


def _runs_again(line: Mapping[str, Any], *, is_spent: bool) -> bool:
    """Whether a task runs again: it failed internally, or a budget of the run ended it that is not spent any more."""
    return is_internal(line) or (not is_spent and is_stopped_by_run(line))


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
    is_cell: bool
    """Whether the run is a cell of a sweep, where nothing is printed at the end."""
    logged: RunInfo


def _run_tasks(
    job: _RunJob, folder: RunFolder, shared: Sequence[Path], larger: int | None
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
        is_spent = find_reached_limit(config, path) is not None
        if not is_spent and any(task.id not in folder.done for task in job.tasks):
            download_models(job.models)
            with record_faults(path), record_spending(path) as spending:
                check_judge_reachable(config)
                evaluate(config, folder, job.tasks, job.console, session.record_sandbox, shared, loggers, spending)
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
        _write_summary(path, tasks, config, {})  # the search's results are kept if the judge fails
        raise
    summary = _write_summary(path, tasks, config, judging)
    if config.stage == "evaluate" and target.kept is None:
        for name in config.export:
            export = load_format("evaluate", name)
            log.info("results in the layout of %s: %s", name, export(config, choices, path, tasks))
    return summary


def find_reached_limit(config: RunConfig, path: Path) -> str | None:
    """Return the limit of the run's budget that its commands have reached so far, None if all hold."""
    if not config.run_budget.is_set:
        return None
    return RunLimit(config.run_budget, Spending(path), find_rates(config)).find_exhausted()


def write_config(config: RunConfig, path: Path) -> None:
    """Write the resolved settings to `config.yaml`."""
    journal.atomic_write(path / "config.yaml", [yaml.safe_dump(config.settings, sort_keys=False).encode()])


def print_other_code(config: RunConfig, path: Path, console: Console) -> None:
    """Print a line if another code version has worked on a folder; for dry runs, which record no session."""
    if line := describe_other_code(path, read_code_version(config.settings)):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _announce(
    stage: str,
    choices: Mapping[str, str],
    tasks: Sequence[Task],
    path: Path,
    done: Mapping[str, Any],
    console: Console,
) -> None:
    preset = ("experiment",) if choices["experiment"] != "none" else ()
    judge = ("judge",) if choices.get("judge", "none") != "none" else ()
    groups = (*preset, "benchmark", "search", "policy", "prm", "reward", *judge)
    parts = [f"stage={stage}"] if stage != "evaluate" else []  # the default stage
    parts += [f"{group}={choices[group]}" for group in groups]
    console.print(" ".join(parts), highlight=False, soft_wrap=True)
    finished = sum(task.id in done for task in tasks)
    repeats = max((task.repeat for task in tasks), default=1)
    times = f", {len(tasks)} searches with repeats={repeats}" if repeats > 1 else ""
    count = sum(task.repeat == 1 for task in tasks)
    console.print(f"tasks: {count}{times}, done already: {finished}", highlight=False)
    console.print(f"results: {path}", highlight=False, soft_wrap=True)


def _write_summary(path: Path, tasks: Sequence[Task], config: RunConfig, judging: Mapping[str, Any]) -> RunSummary:
    """Write `metrics.json` and the report, and return the summary."""
    templates = {task.id: task.template for task in tasks}
    lines = load_result_lines(path, templates)
    groups = {task.id: task.group for task in tasks}
    originals = map_to_originals(tasks)
    summary = summarize_results(
        lines, len(tasks), seed=config.seed, templates=templates, groups=groups, originals=originals
    )
    servers = list(journal.read_records(path / USAGE_FILE))
    content = encode_summary(summary) | ({"servers": servers} if servers else {})
    content |= {"judge": dict(judging)} if judging else {}
    content |= {"tools": counts} if (counts := read_counts(path, groups)) else {}
    content |= {"faults": faults} if (faults := read_faults(path)) else {}
    content |= {"sandbox": events} if (events := read_sandbox_events(path)) else {}
    content |= {"spent": spent} if (spent := summarize_spent(path, find_rates(config))) else {}
    if (limit := find_reached_limit(config, path)) and (summary.missing or any(map(is_stopped_by_run, lines))):
        content["run_budget"] = describe_stop(limit, config.run_budget, lines, len(tasks))
    content["code"] = count_results_by_code(path, len(run_folder.read_finished(path)))
    journal.atomic_write(path / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_report_if_possible(path, lines, summary, tasks)
    return summary
