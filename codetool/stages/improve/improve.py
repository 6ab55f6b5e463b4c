"""stage=improve: rounds of collecting trees, training the policy on them, and evaluating it on dev.

The folder's name depends on what determines the rounds, so that the same command resumes; more rounds continue it.
`rounds.jsonl` has a line for each finished round, `metrics.json` the best one, `success.svg` the success by round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.evaluation.charts import write_chart
from codetool.runs import journal
from codetool.runs.provenance import record_session
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.evaluate.announcement import print_other_code
from codetool.stages.evaluate.run import write_config
from codetool.stages.improve import round_display, round_metrics
from codetool.stages.improve.dry_run import print_plan
from codetool.stages.improve.improve_job import check_job
from codetool.stages.improve.rounds import ROUNDS_FILE, Record, Rounds, find_best, should_stop
from codetool.stages.improve.usage import format_usage, list_usage
from codetool.stages.logged_run import start_stage_loggers
from codetool.stages.run_folder import LOCK_FILE, lock_file, select_folder
from codetool.stages.run_outcome import RunOutcome
from codetool.tracking.run_content import RunContent
from codetool.tracking.wandb_folder import link_offline_runs, list_offline_runs, remove_links

AXIS = "round"
FIGURE = "success"
WIDTH = 160
"""Width in characters of a table that goes to a file or a pipe."""


def improve(
    config: RunConfig,
    choices: Mapping[str, str],
    console: Console,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
    share: Sequence[Path] = (),
    **_: Any,
) -> RunOutcome:
    """Run the rounds that are missing and return the outcome, with the best round's success and models.

    If `sweep` is the name of a sweep, its cell `label` prints only warnings; `share` are the folders of other cells,
    whose equal draws are reused. Raises CodeToolError; KeyboardInterrupt if stopped.
    """
    job = check_job(config, console)
    names = [choices[group] for group in ("benchmark", "policy")]
    stem = "-".join([*names, job.settings.objective, job.identity.digest])
    path = select_folder(config.outputs / config.stage / stem, config.fresh)
    if config.dry_run:
        print_plan(job, path, read_rounds(path))
        print_other_code(config, path, console)
        return RunOutcome(path)
    with ExitStack() as stack:
        stack.enter_context(_open_folder(path, wait=sweep is not None))
        write_config(config, path)
        remove_links(path / "wandb")
        records = read_rounds(path)
        stack.enter_context(record_session(path, job.identity, config.settings, get_command(), done=len(records)))
        cell: dict[str, Any] = {"sweep": sweep, "label": label, "upload": upload}
        tags = [*names, job.settings.objective]
        loggers = stack.enter_context(start_stage_loggers(config, choices, path, tags, AXIS, **cell))
        rounds = Rounds(job, path, loggers, sweep or path.name, upload, share, sweep is not None, records)
        reason = _run_rounds(rounds)
        usage = list_usage(job, choices, path, find_best(records))
        if sweep is None:
            _print_result(rounds, reason, format_usage(usage))
        return _conclude(rounds, usage)


def read_rounds(path: Path) -> list[Record]:
    """Return the records of the finished rounds of a folder; empty without one."""
    shape = {"round": int, "models": dict, "folders": dict, "evaluation": dict}
    return list(journal.read_records(path / ROUNDS_FILE, shape))


@contextmanager
def _open_folder(path: Path, *, wait: bool) -> Iterator[None]:
    """Create and lock the folder. If another command works in it, `wait` for its end or raise ConfigError."""
    with ExitStack() as stack:
        with explain_write_errors(path / LOCK_FILE):
            path.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((path / LOCK_FILE).open("a+"))
        if (holder := lock_file(file, wait)) is not None:
            raise ConfigError(
                f"{path}: another run is writing this result ({holder}). Wait for it, or start a folder of its own "
                "with fresh=true."
            )
        yield


def _run_rounds(rounds: Rounds) -> str:
    """Run rounds until none is left or success no longer rises; return why they end."""
    job = rounds.job
    if not rounds.is_quiet:
        done = f", finished already: {len(rounds.records) - 1}" if rounds.records else ""
        job.console.print(f"results: {rounds.folder}{done}", markup=False, highlight=False, soft_wrap=True)
    while (reason := should_stop(rounds.records, job.settings.rounds, job.settings.patience)) is None:
        record = rounds.run_next()
        _write_files(rounds)
        if not rounds.is_quiet:
            line = round_display.describe_round(record)
            job.console.print(line, markup=False, highlight=False, soft_wrap=True)
    return reason


def _write_files(rounds: Rounds) -> None:
    """Write the figure and `metrics.json`, from the records alone."""
    best, config = find_best(rounds.records), rounds.job.config
    chart = round_display.build_success_chart(rounds.records, len(rounds.job.dev_tasks))
    write_chart(chart, rounds.folder, FIGURE, config.figures)
    content = {"metrics": {"success": best["evaluation"]["success"]}, "best_round": best["round"]}
    content |= {"models": best["models"], "rounds": len(rounds.records) - 1}
    journal.atomic_write(rounds.folder / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])


def _print_result(rounds: Rounds, reason: str, usage: str) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    best = find_best(rounds.records)
    console.print(round_display.build_rounds_table(rounds.records, best["round"]))
    for line in [*round_display.describe_end(best, reason, usage), f"files in {rounds.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _conclude(rounds: Rounds, usage: Sequence[str]) -> RunOutcome:
    """Write what a stopped command may lack, log the result, and return the outcome."""
    _write_files(rounds)
    content = round_metrics.read_metrics(rounds.folder)
    status = rounds.loggers.finish(_build_content(rounds))
    for wandb in rounds.folder.glob("round-*/*/*/wandb"):
        link_offline_runs(rounds.folder / "wandb", list_offline_runs(wandb, unsynced=True))
    if status and not rounds.is_quiet:
        style = "yellow" if status.is_warning else None
        rounds.job.console.print(status.message, style=style, markup=False, highlight=False, soft_wrap=True)
    return RunOutcome(rounds.folder, metrics=content, tracked=status, usage=usage)


def _build_content(rounds: Rounds) -> RunContent:
    best = find_best(rounds.records)
    values = {"best/round": float(best["round"])}
    values |= {f"best/{name}": value for name, value in round_metrics.flatten_metrics(best["evaluation"]).items()}
    curves = [{"step": each["round"], **round_metrics.flatten_metrics(each)} for each in rounds.records]
    figure = rounds.folder / f"{FIGURE}.svg"
    tables = {"rounds": round_display.build_logged_table(rounds.records)}
    return RunContent(values, tables, curves, {FIGURE: figure} if figure.is_file() else {})
