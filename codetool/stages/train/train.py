"""stage=train: train a PRM on process data, or a policy on transcripts.

The folder's name depends on the model, the data and the training settings, so that the same command resumes a stopped
training; a finished one is not repeated.
"""

from __future__ import annotations

import io
import json
import logging
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.runs.identity import Identity
from codetool.runs.provenance import record_session
from codetool.stages import run_folder
from codetool.stages.evaluate.announcement import print_other_code
from codetool.stages.evaluate.run import write_config
from codetool.stages.hub_models import forbid_hub_requests, print_downloads, record_models
from codetool.stages.logged_run import TRAINING_AXIS, log_result, start_stage_loggers
from codetool.stages.run_log import choose_level, log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.train import model_card, train_dataset, train_messages
from codetool.stages.train.model_files import export_model, merge_again
from codetool.stages.train.train_dataset import TrainDataset
from codetool.stages.train.train_identity import find_base_hub_model, name_stem
from codetool.stages.train.train_progress import TrainProgress
from codetool.stages.train.train_run import (
    TrainRun,
    build_job,
    check_labels,
    check_run,
    compute_identity,
    format_option,
)
from codetool.stages.wandb_content import LOSSES, build_training_content
from codetool.tracking.run_loggers import RunLoggers
from codetool.training.failed_process import record_failure

if TYPE_CHECKING:
    from codetool.training.module import MetricsFunction

log = logging.getLogger(__name__)


@record_failure()
def train(
    config: RunConfig,
    choices: Mapping[str, str],
    console: Console,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
    **_: Any,
) -> RunOutcome:
    """Train, write the model into the run folder, and return the outcome.

    If `sweep` is the name of a sweep and `label` its cell, only warnings are printed. Raises CodeToolError;
    KeyboardInterrupt if stopped.
    """
    config, models = find_base_hub_model(config, choices)
    if print_downloads(models, console, "would be downloaded" if config.dry_run else "downloading") and config.dry_run:
        console.print("The examples can be counted once the model is here: its tokenizer does that.", highlight=False)
        return RunOutcome(config.outputs / config.stage)
    run = check_run(config, choices, console)
    if run.trainer.global_rank > 0:
        return _join(run)
    identity = compute_identity(run)
    path = run_folder.select_folder(_name_folder(run, identity), config.fresh)
    if sweep is None:
        run.say(f"stage=train target={config.train.target} {format_option(run)} tuning={choices['tuning']}")
    if config.dry_run:
        return _run_dry(run, path)
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, sweep is not None, (LOSSES,))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(sweep)))
        recorded = record_models(models)
        finished = _is_finished(path)
        material = None if finished else _load_dataset(run)  # first: without examples no run begins, also for loggers
        stack.enter_context(record_session(path, identity, config.settings, get_command(), models=recorded))
        if not finished:
            write_config(config, path)
        named = [config.train.target, choices[config.train.target], choices["tuning"]]
        started = start_stage_loggers(
            config, choices, path, named, TRAINING_AXIS, sweep=sweep, label=label, upload=upload
        )
        return _produce_model(run, path, stack.enter_context(started), material, quiet=sweep is not None)


def _load_dataset(run: TrainRun) -> TrainDataset:
    return train_dataset.load_dataset(run.config, run.base_model.base, run.labels)


def _produce_model(
    run: TrainRun, path: Path, loggers: RunLoggers, material: TrainDataset | None, *, quiet: bool
) -> RunOutcome:
    """Train on the data, log the result and return it; nothing is printed if `quiet`.

    Without data (None) the run is finished already.
    """
    if material is None:
        _leave_finished(run, path)
    else:
        with forbid_hub_requests():  # every file is here; nothing should be asked about
            _train(run, path, loggers, material)
    if not quiet:
        train_messages.print_result(run, path)
    settings = run.config.train
    status = log_result(loggers, build_training_content(path, [*settings.files, *settings.val_files]), quiet=quiet)
    metrics = json.loads((path / model_card.METRICS).read_text())
    return RunOutcome(path, metrics=metrics, tracked=status, usage=shlex.split(run.usage(path, run.made)))


def _is_finished(path: Path) -> bool:
    """Return whether a run folder has its `metrics.json`, which is written last; log a warning if it is damaged."""
    file = path / model_card.METRICS
    try:
        json.loads(file.read_text(encoding="utf-8"))["metrics"]
    except FileNotFoundError:
        return False
    except (ValueError, TypeError, LookupError):
        log.warning("%s is damaged; it is written anew from the last checkpoint.", file)
        return False
    return True


def _name_folder(run: TrainRun, identity: Identity) -> Path:
    """Return the folder of the result."""
    return run.config.outputs / "train" / f"{name_stem(run.config, run.choices)}-{identity.digest}"


def _run_dry(run: TrainRun, path: Path) -> RunOutcome:
    material = _load_dataset(run)
    train_messages.announce(run, material, build_job(run, path, material).data().count_updates(run.trainer))
    state = "finished" if (path / model_card.METRICS).is_file() else "begun" if path.is_dir() else "not there"
    run.say(f"results: {path} ({state})")
    print_other_code(run.config, path, run.console)
    return RunOutcome(path)


def _train(run: TrainRun, path: Path, loggers: RunLoggers, material: TrainDataset) -> None:
    """Train to the end, and write all that a finished run has; `metrics.json` is last and says that it is."""
    check_labels(run)
    job = build_job(run, path, material)
    updates = job.data().count_updates(run.trainer)
    train_messages.announce(run, material, updates)
    run.say(f"results: {path}")
    from codetool.training.run_training import run_training

    with TrainProgress(updates, _choose_progress_console(run)) as progress:
        run_training(job, progress, _measure(material), loggers.to_lightning())
    export_model(run, job, path, material)


def _join(run: TrainRun) -> RunOutcome:
    """Train as one of the ranks from 1 on, which write nothing; the outcome names no run folder."""
    from codetool.training.run_training import join_training

    nothing = RunOutcome(run.config.outputs)
    if run.config.dry_run:
        return nothing
    logging.getLogger("codetool").setLevel(logging.ERROR)  # rank 0 has logged the rest
    material = _load_dataset(run)
    with forbid_hub_requests():
        join_training(build_job(run, Path(), material), _measure(material))
    return nothing


def _leave_finished(run: TrainRun, path: Path) -> None:
    """Write what a finished run lacks, and say that it is finished."""
    from codetool.training.run_training import dismiss_processes

    dismiss_processes(run.config.trainer)
    if not (run.config.train.save_merged and merge_again(run, path)):
        run.say(f"{path} is finished already; fresh=true trains anew.")


def _choose_progress_console(run: TrainRun) -> Console:
    """Return the console of the stage's own progress display, or one that shows nothing.

    A progress bar of Lightning among the callbacks takes its place.
    """
    from pytorch_lightning.callbacks import ProgressBar

    shows = run.config.trainer.keywords.get("enable_progress_bar", True)
    if shows and not any(isinstance(callback, ProgressBar) for callback in run.config.callback.values()):
        return run.console
    return Console(file=io.StringIO())


def _measure(material: TrainDataset) -> MetricsFunction:
    from codetool.evaluation.prm_metrics import compute_headline_metrics

    def measure(scores: Mapping[int, float]) -> Mapping[str, float]:
        numbers = sorted(scores)
        return compute_headline_metrics(
            [material.judged[number] for number in numbers], [scores[number] for number in numbers]
        )

    return measure
