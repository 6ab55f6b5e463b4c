"""Lightning callback: logs losses, validates, saves checkpoints and stops early or on a signal."""

from __future__ import annotations

import math
import random
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import pytorch_lightning as lightning
import torch

from codetool.runs import journal
from codetool.runs.journal import Journal
from codetool.training.batch import TrainBatch
from codetool.training.datamodule import TrainDataModule
from codetool.training.module import SFT, DivergedError
from codetool.training.train_job import BEST, LAST, TrainJob

LOSSES = "losses.jsonl"
VALIDATIONS = "validations.jsonl"


class Interrupted(Exception):
    """The user wants training to end; the last checkpoint is there."""


class ProgressObserver(Protocol):
    """An observer of the progress of training."""

    def updated(self, line: Mapping[str, float]) -> None:
        """An update is done; `line` is its line of `losses.jsonl`."""
        ...

    def validated(self, line: Mapping[str, float]) -> None:
        """A validation is done; `line` is its line of `validations.jsonl`."""
        ...

    def stopping(self) -> None:
        """Training ends after the current update, as was asked for."""
        ...


class SignalHandler:
    """Ctrl-C and SIGTERM while training runs: the first ends it after the current update, another one at once."""

    def __init__(self, watch: ProgressObserver | None) -> None:
        self.asked = False
        self._running, self._watch = False, watch

    def listen(self, stack: ExitStack) -> None:
        """Take the signals until the stack is closed."""
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, self))

    def running(self) -> None:
        """From here on updates are made. Lightning has put its own handler before ours, which would wait for others."""
        self._running = True
        signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._running:
            raise Interrupted
        self.asked = True
        if self._watch:
            self._watch.stopping()


class TrainingLog:
    """The journals of a run, which the first process writes, without lines of updates that have to be done again."""

    def __init__(self, folder: Path, done: int, watch: ProgressObserver, stack: ExitStack) -> None:
        """`done` updates are kept by a checkpoint."""
        for name in (LOSSES, VALIDATIONS):
            journal.filter_records(folder / name, lambda line: line["step"] <= done)
        self._losses, self._validations = (
            stack.enter_context(Journal(folder / name)) for name in (LOSSES, VALIDATIONS)
        )
        self._watch = watch

    def update(self, line: Mapping[str, float]) -> None:
        """Add the line of an update."""
        self._losses.append(line)
        self._watch.updated(line)

    def validation(self, line: Mapping[str, float]) -> None:
        """Add the line of a validation."""
        self._validations.append(line)
        self._watch.validated(line)


class RunCallback(lightning.Callback):
    """Looks after a run at the end of each of its updates, in every process alike."""

    def __init__(self, job: TrainJob, record: TrainingLog | None, stop: SignalHandler, before: list[float]) -> None:
        """`before` are the losses of earlier validations, to which this run's are added.

        `record` is None in all processes but the first.
        """
        self._job, self._record, self._stop = job, record, stop
        self._losses = before
        self._step, self._rate, self._kept = 0, 0.0, 0
        self._sums = [0.0, 0.0, 0.0]
        self._leaving = False

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Listen, and start the clock."""
        self._stop.running()
        self._step = self._kept = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: TrainBatch, index: int) -> None:
        """Seed what is drawn in a pass, which is dropout, so that it is the same after a resumption."""
        place = f"{self._job.seed} {trainer.current_epoch} {index} {trainer.global_rank}"
        torch.manual_seed(random.Random(place).getrandbits(63))

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """Note the learning rate, which is the next update's already when this one ends."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: TrainBatch, index: int) -> None:
        """Count the pass, and if an update ends with it do what is due. Raises Diverged."""
        for place, value in enumerate((float(module.summed), batch.num_tokens, batch.examples)):
            self._sums[place] += value
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss, tokens, examples, stop = self._together(module.device)
        self._refuse(loss)
        if self._record:
            now = time.monotonic()
            self._record.update(
                {
                    "step": self._step,
                    "loss": loss / batch.total_weight,
                    "learning_rate": self._rate,
                    "tokens": int(tokens),
                    "examples": int(examples),
                    "seconds": round(now - self._since, 3),
                }
            )
        self._sums = [0.0, 0.0, 0.0]
        if self._due(trainer, index):
            self._validate(trainer, module)
        self._leaving = bool(stop)
        if trainer.should_stop or index + 1 == trainer.num_training_batches:
            return  # to `on_train_epoch_end`
        if stop or self._step - self._kept >= self._job.settings.checkpoint_every_n_steps:
            self._keep_last(trainer)
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Keep the state between two epochs.

        From a state of the end of the last pass, Lightning would begin a longer next epoch in its middle.
        """
        self._keep_last(trainer)
        self._since = time.monotonic()

    def _keep_last(self, trainer: Any) -> None:
        """Keep the state to go on from, and leave if that was asked for."""
        self._keep(trainer, LAST)
        self._kept = self._step
        if self._leaving:
            raise Interrupted

    def _together(self, device: torch.device) -> list[float]:
        """The sums of all processes, and whether any of them is to stop."""
        sums = torch.tensor([*self._sums, float(self._stop.asked)], dtype=torch.float64, device=device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def _due(self, trainer: Any, index: int) -> bool:
        """Whether a validation belongs after this update; they are spread evenly and one ends the epoch."""
        settings = self._job.settings
        updates = -(-trainer.num_training_batches // settings.gradient_accumulation_steps)
        done = index // settings.gradient_accumulation_steps + 1
        return done in {
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
        self._refuse(loss)
        if not self._losses or loss < min(self._losses):
            self._keep(trainer, BEST, weights_only=True)
        self._losses.append(loss)
        if self._record:
            self._record.validation({"step": self._step, **metrics})
        if is_out_of_patience(self._losses, self._job.settings.early_stopping_patience):
            trainer.should_stop = True

    def _refuse(self, loss: float) -> None:
        """Raises Diverged for a loss that nothing can be learned from, before anything is kept of it."""
        if not math.isfinite(loss):
            raise DivergedError(self._step, self._job.settings.learning_rate)

    def _keep(self, trainer: Any, name: str, *, weights_only: bool = False) -> None:
        """Write a checkpoint in place of the older one; a kill leaves one of the two."""
        file = self._job.checkpoints / name
        new = file.with_name(f"{name}.new")
        trainer.save_checkpoint(new, weights_only=weights_only)
        if trainer.is_global_zero:
            if file.is_dir():
                shutil.rmtree(file)
            new.replace(file)


def is_out_of_patience(losses: list[float], patience: int | None) -> bool:
    """Whether so many validations in a row have brought nothing better."""
    return patience is not None and bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience
