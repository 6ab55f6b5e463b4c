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

from codetool.config.invocation import get_command, name_program
from codetool.config.run_config import RunConfig
from codetool.credentials.masking import mask_command
from codetool.errors import ConfigError
from codetool.prompts import trained_prompt
from codetool.runs.identity import Identity
from codetool.runs.provenance import count_results_by_code, record_session
from codetool.stages import run_folder
from codetool.stages.evaluate.run import print_other_code, write_config
from codetool.stages.hub_models import forbid_hub_requests, print_downloads, record_models
from codetool.stages.logged_run import TRAINING_AXIS, log_result, start_stage_loggers
from codetool.stages.run_log import choose_level, log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.train import model_card, train_dataset, train_messages, trained_on, training_prompt
from codetool.stages.train.train_dataset import TrainDataset
from codetool.stages.train.train_identity import find_base_hub_model, name_stem
from codetool.stages.train.train_progress import TrainProgress
from codetool.stages.train.train_run import TrainRun, check_run, compute_identity, format_option
from codetool.stages.wandb_content import LOSSES, build_training_content
from codetool.tracking.run_loggers import RunLoggers
from codetool.training.failed_process import record_failure

if TYPE_CHECKING:
    from codetool.training.module import MetricsFunction
    from codetool.training.train_job import TrainJob

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
        _run_dry(run, path)
        print_other_code(config, path, console)
        return RunOutcome(path)
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, sweep is not None, (LOSSES,))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(sweep)))
        recorded = record_models(models)
        stack.enter_context(record_session(path, identity, config.settings, get_command(), models=recorded))
        finished = _is_finished(path)
        if not finished:
            write_config(config, path)
        named = [config.train.target, choices[config.train.target], choices["tuning"]]
        started = start_stage_loggers(
            config, choices, path, named, TRAINING_AXIS, sweep=sweep, label=label, upload=upload
        )
        loggers = stack.enter_context(started)
        if finished:
            _leave_finished(run, path)
        else:
            with forbid_hub_requests():  # every file is here; nothing should be asked about
                _train(run, path, loggers)
        if sweep is None:
            train_messages.print_result(run, path)
        content = build_training_content(path, [*config.train.files, *config.train.val_files])
        status = log_result(loggers, content, quiet=sweep is not None)
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


def _run_dry(run: TrainRun, path: Path) -> None:
    material = train_dataset.load_dataset(run.config, run.base_model.base, run.labels)
    train_messages.announce(run, material, _build_job(run, path, material).data().count_updates(run.trainer))
    state = "finished" if (path / model_card.METRICS).is_file() else "begun" if path.is_dir() else "not there"
    run.say(f"results: {path} ({state})")


def _build_job(run: TrainRun, path: Path, material: TrainDataset) -> TrainJob:
    from codetool.training.train_job import TrainJob

    return TrainJob(
        folder=path,
        base=run.base_model.base,
        start=run.start,
        settings=run.config.train,
        tuning=run.config.tuning,
        trainer=run.config.trainer,
        optimizer=run.config.optimizer,
        scheduler=run.config.scheduler,
        callbacks=run.config.callback,
        seed=run.config.seed,
        training=material.training,
        validation=material.validation,
        labels=run.labels.tokens if run.labels else None,
        vocabulary=run.labels.vocabulary if run.labels else 0,
    )


def _train(run: TrainRun, path: Path, loggers: RunLoggers) -> None:
    """Train to the end, and write all that a finished run has; `metrics.json` is last and says that it is."""
    material = train_dataset.load_dataset(run.config, run.base_model.base, run.labels)
    _look_at_labels(run)
    job = _build_job(run, path, material)
    updates = job.data().count_updates(run.trainer)
    train_messages.announce(run, material, updates)
    run.say(f"results: {path}")
    from codetool.training.run_training import run_training

    with TrainProgress(updates, _choose_progress_console(run)) as progress:
        run_training(job, progress, _measure(material), loggers.to_lightning())
    _export(run, job, path, material)


def _join(run: TrainRun) -> RunOutcome:
    """Train as one of the ranks from 1 on, which write nothing; the outcome names no run folder."""
    from codetool.training.run_training import join_training

    nothing = RunOutcome(run.config.outputs)
    if run.config.dry_run:
        return nothing
    logging.getLogger("codetool").setLevel(logging.ERROR)  # rank 0 has logged the rest
    material = train_dataset.load_dataset(run.config, run.base_model.base, run.labels)
    with forbid_hub_requests():
        join_training(_build_job(run, Path(), material), _measure(material))
    return nothing


def _leave_finished(run: TrainRun, path: Path) -> None:
    """Write what a finished run lacks, and say that it is finished."""
    from codetool.training.run_training import dismiss_processes

    dismiss_processes(run.config.trainer)
    if not (run.config.train.save_merged and _merge_again(run, path)):
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


def _look_at_labels(run: TrainRun) -> None:
    """Warn of labels that cost something, and refuse those that an adapter cannot teach."""
    if run.labels is None:
        return
    option: Any = run.config.prm
    words = list(option.labels)
    if run.labels.tokenizer is not None:
        log.warning(
            "prm.labels=%s become new tokens, which only the whole model in %s/ knows: no adapter, no server that adds "
            "LoRA to the base and no other copy of the base can be used with them.",
            words,
            run.made,
        )
        return
    from codetool.training.new_label_tokens import find_untrained_tokens

    if not (bad := find_untrained_tokens(run.base_model.base, run.labels.tokens)):
        return
    bad_words = [word for word, token in zip(words, run.labels.tokens, strict=True) if token in bad]
    said = f"prm.labels={words}: the model was never trained on {bad_words}, by the look of their embeddings"
    if run.config.tuning.method == "full":
        log.warning("%s; all weights are trained, so it may do.", said)
        return
    raise ConfigError(f"{said}. Choose ordinary words, prm.labels=[yes,no], or tuning=full, which trains them.")


def _measure(material: TrainDataset) -> MetricsFunction:
    from codetool.evaluation.prm_metrics import compute_headline_metrics

    def measure(scores: Mapping[int, float]) -> Mapping[str, float]:
        numbers = sorted(scores)
        return compute_headline_metrics(
            [material.judged[number] for number in numbers], [scores[number] for number in numbers]
        )

    return measure


def _export(run: TrainRun, job: TrainJob, path: Path, material: TrainDataset) -> None:
    from codetool.training import export
    from codetool.training.checkpoint_files import LAST, count_updates, find_best_checkpoint

    checkpoint = find_best_checkpoint(job.checkpoints / LAST)
    tokenizer = run.labels.tokenizer if run.labels else None
    made = export.export(job, checkpoint, model_card.name_base_model(run.config, run.base_model), tokenizer)
    counts = {
        "examples": len(material.training),
        "validation_examples": len(material.validation),
        "tasks": material.tasks[0],
        "validation_tasks": material.tasks[1],
        "left_out": material.too_long,
    }
    folders = [made, export.export_merged(job, made)] if run.config.train.save_merged else [made]
    metrics = model_card.collect_metrics(path, counts, count_updates(checkpoint))
    train_messages.warn_of_missing_validation(metrics)
    content = {**metrics, "code": count_results_by_code(path)}
    for folder in folders:
        _write_companion_files(run, path, folder, content)
    model_card.write_metrics(path, content, run.config.figures)


def _write_companion_files(run: TrainRun, path: Path, folder: Path, content: Mapping[str, Any]) -> None:
    """Write the files beside the weights: the prompt, the tasks trained on, and the model card."""
    if (prompt := training_prompt.find_training_prompt(run.config, run.sources)) is not None:
        trained_prompt.save_prompt_record(folder, prompt)
    command = f"{name_program()} {shlex.join(mask_command(run.overrides))}"
    usage = run.usage(path, folder.name)
    settings = run.config.train
    trained_on.write_training_tasks(
        folder,
        *train_dataset.list_task_ids(run.config),
        [*settings.files, *settings.val_files],
        [
            earlier
            for path in (run.start, run.base_model.base)
            if path and (earlier := trained_on.read_training_tasks(path))
        ],
    )
    model_card.write_card(folder, run.config, run.base_model, run.sources, content, command, usage)


def _merge_again(run: TrainRun, path: Path) -> bool:
    """Write the merged model if it is missing, and return whether it was."""
    from codetool.training import export

    if (path / export.MERGED).is_dir():
        return False
    job = _build_job(run, path, TrainDataset([], [], [], (0, 0), 0))
    folder = export.export_merged(job, path / export.ADAPTER)
    _write_companion_files(run, path, folder, json.loads((path / model_card.METRICS).read_text()))
    return True
