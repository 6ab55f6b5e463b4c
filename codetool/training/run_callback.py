"""Lightning callback: logs losses, validates, saves checkpoints and stops early or on a signal."""

from __future__ import annotations

import math
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import pytorch_lightning as lightning
import torch

from codetool.errors import ConfigError
from codetool.runs import damaged_lines, journal
from codetool.runs.journal import Journal
from codetool.runs.write_errors import explain_write_errors
from codetool.training.batch import TrainBatch
from codetool.training.datamodule import TrainDataModule
from codetool.training.module import SFT, DivergedError
from codetool.training.train_job import BEST, LAST, TrainJob

LOSSES = "losses.jsonl"
VALIDATIONS = "validations.jsonl"


class Interrupted(Exception):
    """The user has interrupted training, and the last checkpoint has been written."""


class ProgressObserver(Protocol):
    """An observer of the progress of training."""

    def updated(self, line: Mapping[str, float]) -> None:
        """Receive the record of a finished update, as written to `losses.jsonl`."""
        ...

    def validated(self, line: Mapping[str, float]) -> None:
        """Receive the record of a finished validation, as written to `validations.jsonl`."""
        ...

    def stopping(self) -> None:
        """Receive the notice that training ends after the current update because of a signal."""
        ...


class SignalHandler:
    """Handler of Ctrl-C and SIGTERM: the first signal ends training after the current update, a second one at once."""

    def __init__(self, observer: ProgressObserver | None) -> None:
        self.asked = False
        self._running, self._watch = False, observer

    def listen(self, stack: ExitStack) -> None:
        """Install the handler for both signals until the stack is closed."""
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, self))

    def running(self) -> None:
        """Note that updates are being made, and replace Lightning's SIGTERM handler, which waits for others."""
        self._running = True
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._running:
            raise Interrupted
        self.asked = True
        if self._watch:
            self._watch.stopping()


class TrainingLog:
    """The journals of losses and validations of a run, written by the first process."""

    def __init__(self, folder: Path, done: int, observer: ProgressObserver, stack: ExitStack) -> None:
        """Open the journals, and remove the records of updates after `done`, the update of the last checkpoint."""
        for name in (LOSSES, VALIDATIONS):
            keep_latest_records(folder / name, done)
        self._losses, self._validations = (
            stack.enter_context(Journal(folder / name)) for name in (LOSSES, VALIDATIONS)
        )
        self._watch = observer

    def update(self, line: Mapping[str, float]) -> None:
        """Append the record of an update."""
        self._losses.append(line)
        self._watch.updated(line)

    def validation(self, line: Mapping[str, float]) -> None:
        """Append the record of a validation."""
        self._validations.append(line)
        self._watch.validated(line)


def keep_latest_records(file: Path, done: float = math.inf) -> None:
    """Remove the records of updates after `done`, and of several records of an update all but the last.

    Raises ConfigError for a damaged line, since an update is not made again to be recorded.
    """
    if message := damaged_lines.describe_damage(file, {"step": int}):
        raise ConfigError(f"{message} Restore the file from a copy, or train anew with fresh=true.")
    records = list(journal.read_records(file))
    latest = {record["step"]: record for record in records if record["step"] <= done}
    if len(latest) < len(records):
        journal.atomic_write(file, (journal.encode_record(latest[step]) for step in sorted(latest)))


def require_losses(folder: Path, done: int) -> None:
    """Raise ConfigError if a loss until update `done`, that of the last checkpoint, is missing."""
    file = folder / LOSSES
    if (recorded := sum(record["step"] <= done for record in journal.read_records(file))) < done:
        raise ConfigError(
            f"{file} holds {recorded} of the {done} losses until the last checkpoint. Restore the file from a copy, or "
            "train anew with fresh=true."
        )


class RunCallback(lightning.Callback):
    """Lightning callback that logs, validates and saves checkpoints at the end of an update, in every process."""

    def __init__(self, job: TrainJob, record: TrainingLog | None, stop: SignalHandler, before: list[float]) -> None:
        """Store the parts of the run.

        `before` holds the losses of earlier validations; those of this run are appended to it. `record` is None in all
        processes but the first.
        """
        self._job, self._record, self._stop = job, record, stop
        self._losses = before
        self._step, self._rate, self._saved_step = 0, 0.0, 0
        self._sums = [0.0, 0.0, 0.0]
        self._is_interrupted = False

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Install the signal handler again, and start the clock of the first update."""
        self._stop.running()
        self._step = self._saved_step = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: TrainBatch, index: int) -> None:
        """Seed the random numbers of a pass (dropout), so that they are the same after training is resumed."""
        seed = f"{self._job.seed} {trainer.current_epoch} {index} {trainer.global_rank}"
        torch.manual_seed(random.Random(seed).getrandbits(63))

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """Store the learning rate of this update; at the update's end the optimizer has that of the next one."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: TrainBatch, index: int) -> None:
        """Count the pass; after the last pass of an update, log it, and validate and save a checkpoint if due.

        Raises DivergedError for a loss that is not finite, and Interrupted after a signal.
        """
        for index_of_sum, value in enumerate((float(module.summed), batch.num_tokens, batch.examples)):
            self._sums[index_of_sum] += value
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss, tokens, examples, must_stop = self._sum_over_processes(module.device)
        self._require_finite(loss)
        if self._record:
            now = time.monotonic()
            seconds = now - self._since
            line = {
                "step": self._step,
                "loss": loss / batch.total_weight,
                "learning_rate": self._rate,
                "tokens": int(tokens),
                "examples": int(examples),
                "seconds": round(seconds, 3),
            }
            self._record.update(line)
            gradients = {} if module.grad_norm is None else {"grad_norm": module.grad_norm}
            rates = {"learning_rate": self._rate, "tokens_per_second": tokens / seconds}
            _log(trainer, "train", {"loss": line["loss"], **rates, **gradients}, self._step)
        self._sums = [0.0, 0.0, 0.0]
        if self._is_validation_due(trainer, index):
            self._validate(trainer, module)
        self._is_interrupted = bool(must_stop)
        if trainer.should_stop or index + 1 == trainer.num_training_batches:
            return  # to `on_train_epoch_end`
        if must_stop or self._step - self._saved_step >= self._job.settings.checkpoint_every_n_steps:
            self._save_last_checkpoint(trainer)
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Save the state between two epochs.

        If the state were saved at the end of the last pass, Lightning would resume a longer next epoch in its middle.
        """
        self._save_last_checkpoint(trainer)
        self._since = time.monotonic()

    def _save_last_checkpoint(self, trainer: Any) -> None:
        """Save the checkpoint to resume from, and raise Interrupted if a signal has asked for the end."""
        self._save_checkpoint(trainer, LAST)
        self._saved_step = self._step
        if self._is_interrupted:
            raise Interrupted

    def _sum_over_processes(self, device: torch.device) -> list[float]:
        """Return loss, tokens and examples summed over all processes, and above 0 if any process is to stop."""
        sums = torch.tensor([*self._sums, float(self._stop.asked)], dtype=torch.float64, device=device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def _is_validation_due(self, trainer: Any, index: int) -> bool:
        """Return whether to validate after this update; validations are spread evenly, the last at the epoch's end."""
        settings = self._job.settings
        updates = -(-trainer.num_training_batches // settings.gradient_accumulation_steps)
        updates_made = index // settings.gradient_accumulation_steps + 1
        return updates_made in {
            -(-updates * turn // settings.val_checks_per_epoch) for turn in range(1, settings.val_checks_per_epoch + 1)
        }

    def _validate(self, trainer: Any, module: SFT) -> None:
        data = trainer.datamodule
        assert isinstance(data, TrainDataModule)
        if (batches := data.validation()) is None:
            return
        with trainer.precision_plugin.forward_context():
            metrics = module.validate_batches(batches)
        loss = metrics["validation_loss"]
        self._require_finite(loss)
        if not self._losses or loss < min(self._losses):
            self._save_checkpoint(trainer, BEST, weights_only=True)
        self._losses.append(loss)
        if self._record:
            self._record.validation({"step": self._step, **metrics})
            _log(trainer, "validation", metrics, self._step)
        if is_out_of_patience(self._losses, self._job.settings.early_stopping_patience):
            trainer.should_stop = True

    def _require_finite(self, loss: float) -> None:
        """Raise DivergedError for a loss that is not finite, before it is logged or a checkpoint is saved."""
        if not math.isfinite(loss):
            raise DivergedError(self._step, self._job.settings.learning_rate)

    def _save_checkpoint(self, trainer: Any, name: str, *, weights_only: bool = False) -> None:
        """Replace the checkpoint file `name`; if the process is killed, the old or the new file remains."""
        file = self._job.checkpoints / name
        new_file = file.with_name(f"{name}.new")
        with explain_write_errors(file):
            # Lightning makes a removed folder anew, without the losses, and hides why a file cannot be created.
            tempfile.TemporaryFile(dir=file.parent).close()
            try:
                trainer.save_checkpoint(new_file, weights_only=weights_only)
            except OSError:
                new_file.unlink(missing_ok=True)  # it only takes room
                raise
            if trainer.is_global_zero:
                if file.is_dir():
                    shutil.rmtree(file)
                new_file.replace(file)


def _log(trainer: Any, part: str, metrics: Mapping[str, float | None], step: int) -> None:
    """Log metrics to the trainer's loggers as `part/name`."""
    values = {f"{part}/{name}": value for name, value in metrics.items() if value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(values, step)


def is_out_of_patience(losses: list[float], patience: int | None) -> bool:
    """Return whether the last `patience` validations have not improved on the lowest loss; False if it is None."""
    return patience is not None and bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience
