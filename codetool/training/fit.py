"""Run Lightning's trainer in one process, from the start or from the last checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack

import pytorch_lightning as lightning
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import Logger

from codetool.errors import CodeToolError, ConfigError
from codetool.models.kernel_memory import limit_kernel_caches
from codetool.training.checkpoint_files import LAST, count_updates, is_stopped_early
from codetool.training.datamodule import TrainDataModule
from codetool.training.module import VALIDATION_LOSS, MetricsFunction
from codetool.training.run_callback import RunCallback
from codetool.training.signals import Interrupted, SignalHandler, requeue_slurm_job
from codetool.training.train_job import TrainJob
from codetool.training.trainer import PROFILE, build_trainer, choose_threads, count_local_processes, silence_lightning
from codetool.training.training_log import ProgressObserver, TrainingLog

log = logging.getLogger(__name__)


def fit(
    job: TrainJob,
    observer: ProgressObserver | None,
    measure: MetricsFunction | None,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train to the end, resuming from the last checkpoint if there is one.

    `observer` is told the progress and is None in all processes but the first; `measure` computes the validation
    metrics of a PRM; `loggers` are Lightning's. Raises KeyboardInterrupt after Ctrl-C or SIGTERM, once the state of the
    last complete update has been saved, and CodeToolError if training diverges or ends too early.
    """
    last_checkpoint = job.checkpoints / LAST
    updates_made = count_updates(last_checkpoint)
    data, signals, total = job.data(), SignalHandler(observer), count_all_updates(job)
    if updates_made >= total or is_stopped_early(last_checkpoint):
        return
    try:
        with ExitStack() as stack:
            stack.enter_context(silence_lightning())
            signals.listen(stack)
            record = TrainingLog(job.folder, updates_made, observer, stack) if observer else None
            callback = RunCallback(job, record, signals)
            trainer = _build_trainer(job, callback, loggers, data)
            limit_kernel_caches()
            torch.set_num_threads(choose_threads(job.settings.threads, count_local_processes(trainer)))
            _fit(trainer, job.module(total, measure), data, str(last_checkpoint) if updates_made else None)
            if observer:
                _name_profile(job)
    except Interrupted:
        if signals.requeues and observer is not None:
            requeue_slurm_job()
        raise KeyboardInterrupt from None
    if signals.asked:  # in the last update
        raise KeyboardInterrupt
    made = trainer.global_step
    if callback.stopped_early and observer and made < total:
        log.info("Training has ended after %d of %d updates: a callback has stopped it.", made, total)
    elif made != total and not callback.stopped_early:
        raise _UnfinishedError(job, made, total)


def _build_trainer(
    job: TrainJob, callback: RunCallback, loggers: Sequence[Logger], data: TrainDataModule
) -> lightning.Trainer:
    callbacks = [*_select_callbacks(job), callback]
    return build_trainer(job.trainer, folder=job.folder, callbacks=callbacks, loggers=loggers, validates=data.validates)


def count_all_updates(job: TrainJob) -> int:
    """Return the number of updates of the whole training. Raises ConfigError if it would make none, or never end."""
    return job.data().count_updates(build_trainer(job.trainer))


class _UnfinishedError(CodeToolError):
    """Lightning has ended the training too early, which it does without a word for a state that it resumes wrongly."""

    def __init__(self, job: TrainJob, made: int, total: int) -> None:
        """Build the message from the numbers of updates."""
        super().__init__(
            f"{job.folder}: training has ended after {made} updates, where {total} were to be made. Its checkpoints "
            "are not to be trusted; fresh=true trains anew."
        )


def _name_profile(job: TrainJob) -> None:
    """Log where the report of `trainer.profiler` lies, if there is one."""
    if (profiler := job.trainer.keywords.get("profiler")) is not None:
        for report in sorted(job.folder.glob(f"fit-{PROFILE}*")):
            log.info("trainer.profiler=%s: the report is in %s", profiler, report)


def _fit(trainer: lightning.Trainer, module: lightning.LightningModule, data: lightning.LightningDataModule,
         checkpoint: str | None) -> None:  # fmt: skip
    """Call Lightning's `fit`. Raises ConfigError for what Lightning refuses only now."""
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=False)
    except MisconfigurationException as error:
        raise ConfigError(f"trainer, callback: {' '.join(str(error).split())}") from error
    except (ValueError, RuntimeError) as error:
        if (message := _explain_lightning_error(error)) is None:
            raise
        raise ConfigError(message) from error


def _explain_lightning_error(error: Exception) -> str | None:
    """Return the message for an error of Lightning about the settings; None for any other error."""
    text = " ".join(str(error).split())
    if "val_check_interval" in text:
        return f"trainer: {text}"
    return f"callback: {text}" if text.startswith("Early stopping conditioned on metric") else None


def _select_callbacks(job: TrainJob) -> list[lightning.Callback]:
    """Return the callbacks of the user's choice. ModelCheckpoints without a folder write to the run folder.

    Without validation data, a ModelCheckpoint of the validation loss is left out. Raises ConfigError for an
    EarlyStopping then.
    """
    selected: list[lightning.Callback] = []
    for name, callback in job.callbacks.items():
        if not job.validation and getattr(callback, "monitor", None) == VALIDATION_LOSS:
            if isinstance(callback, ModelCheckpoint):
                continue
            if isinstance(callback, EarlyStopping):
                raise ConfigError(
                    f"callback={name}: there are no data to validate on. Set train.val_fraction or train.val_files."
                )
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(job.checkpoints.resolve())
        selected.append(callback)
    return selected
