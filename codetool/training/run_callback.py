"""Lightning callback of a run: seeds passes, logs updates, saves the checkpoint to resume from, ends on a signal."""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint

from codetool.models.kernel_memory import return_freed_memory
from codetool.training.batch import TrainBatch
from codetool.training.checkpoint_files import CALLBACKS_KEY, LAST, STOPPED_KEY, relocate_state
from codetool.training.initial_log_probabilities import ensure_initial_log_probabilities
from codetool.training.module import SFT, DivergedError
from codetool.training.signals import Interrupted, SignalHandler
from codetool.training.strategies import is_deepspeed
from codetool.training.train_job import TrainJob
from codetool.training.training_log import TrainingLog


class RunCallback(Checkpoint):
    """Lightning callback that logs every update and saves the state to resume from, in every process.

    Lightning calls it after all other callbacks, so that their state is in the checkpoint. Lightning's own
    ModelCheckpoint cannot take its place: a state that it saves at the last pass of an epoch, or before a validation
    that is due, resumes without the rest of a longer next epoch, or without the validation.
    """

    def __init__(self, job: TrainJob, record: TrainingLog | None, signals: SignalHandler) -> None:
        """Store the parts of the run. `record` is None in all processes but the first."""
        self._job, self._record, self._signals = job, record, signals
        self.stopped_early = False
        """Whether another callback has ended the training."""
        self._step, self._rate, self._saved_step = 0, 0.0, 0
        self._sums = [0.0, 0.0, 0.0]
        self._is_interrupted = False

    def state_dict(self) -> dict[str, Any]:
        """Return whether training has ended, by which the same command knows that nothing is left to train."""
        return {STOPPED_KEY: self.stopped_early}

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: Mapping[str, Any]) -> None:
        """Let the states of ModelCheckpoints name the run folder, in case it has been moved."""
        folder = str(self._job.checkpoints.resolve())
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint.get(CALLBACKS_KEY, {}).get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and str(callback.dirpath) == folder and state:
                relocate_state(state, folder)

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Compute what the loss reads of the initial policy."""
        ensure_initial_log_probabilities(self._job, module, trainer)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Install the signal handler again, and start the clock of the first update."""
        self._signals.running(trainer._accelerator_connector.cluster_environment)
        self._step = self._saved_step = trainer.global_step
        self._since = time.monotonic()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: TrainBatch, index: int) -> None:
        """Seed the random numbers of a pass (dropout), so that they are the same after training is resumed.

        Raises Interrupted after a signal: not at the end of the pass before, when its update is not in the loggers yet.
        """
        self._end_if_interrupted()
        seed = f"{self._job.seed} {trainer.current_epoch} {index} {trainer.global_rank}"
        torch.manual_seed(random.Random(seed).getrandbits(63))

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """Store the learning rate of this update; at the update's end the optimizer has that of the next one."""
        self._rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: Any, module: SFT, outputs: Any, batch: TrainBatch, index: int) -> None:
        """Count the pass; after the last pass of an update, log it, and save a checkpoint if due.

        Raises DivergedError for a loss that is not finite.
        """
        for index_of_sum, value in enumerate((float(module.summed), batch.num_tokens, batch.examples)):
            self._sums[index_of_sum] += value
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        loss, tokens, examples, must_stop = self._sum_over_processes(module.device)
        if not math.isfinite(loss):  # before it is logged or a checkpoint is saved
            raise DivergedError(self._step, self._rate)
        self._log(module, loss / batch.total_weight, int(tokens), int(examples))
        self._sums = [0.0, 0.0, 0.0]
        self._is_interrupted = bool(must_stop)
        self._since = time.monotonic()
        if not _validates_now(trainer):  # else `on_validation_end` saves
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Any, module: SFT) -> None:
        """Record the metrics, and save a checkpoint if one is due. Raises Interrupted after a signal."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self._record:
            self._record.validation({"step": self._step, **module.validation_metrics})
        self._save_if_due(trainer)
        self._end_if_interrupted()
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Save the state between two epochs. Raises Interrupted after a signal.

        If the state were saved at the end of the last pass, Lightning would resume a longer next epoch in its middle.
        """
        self.stopped_early = trainer.should_stop
        self._save_checkpoint(trainer)
        self._end_if_interrupted()
        self._since = time.monotonic()

    def _save_if_due(self, trainer: Any) -> None:
        """Save a checkpoint in the middle of an epoch, if it is time or a signal has asked for the end."""
        loop = trainer.fit_loop.epoch_loop
        if trainer.should_stop or trainer.global_step == trainer.max_steps or loop._num_ready_batches_reached():
            return  # to `on_train_epoch_end`
        if trainer.global_step != self._step or loop._should_accumulate():
            return  # a validation between two passes of an update
        if self._is_interrupted or self._step - self._saved_step >= self._job.settings.checkpoint_every_n_steps:
            self._save_checkpoint(trainer)

    def _save_checkpoint(self, trainer: Any) -> None:
        """Save the checkpoint to resume from, and return the memory that earlier passes left behind."""
        return_freed_memory()
        file = self._job.checkpoints / LAST
        if is_deepspeed(trainer.strategy):  # which writes a folder
            new_file = file.with_name(f"{LAST}.new")
            trainer.save_checkpoint(new_file)
            if trainer.is_global_zero:
                shutil.rmtree(file, ignore_errors=True)
                new_file.replace(file)
        else:
            trainer.save_checkpoint(file)
        self._saved_step = self._step

    def _end_if_interrupted(self) -> None:
        """Raise Interrupted if a signal has asked for the end, and the state is saved."""
        if self._is_interrupted and self._saved_step == self._step:
            raise Interrupted

    def _sum_over_processes(self, device: torch.device) -> list[float]:
        """Return loss, tokens and examples summed over all processes, and above 0 if any process is to stop."""
        sums = torch.tensor([*self._sums, float(self._signals.asked)], dtype=torch.float64, device=device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def _log(self, module: SFT, loss: float, tokens: int, examples: int) -> None:
        """Log an update to the loggers and to the journal."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        metrics = {"train/learning_rate": self._rate, "train/tokens_per_second": tokens / seconds}
        if module.grad_norm is not None:
            metrics["train/grad_norm"] = module.grad_norm
        of_steps = module.update_metrics.take()
        metrics |= {f"train/{name}": value for name, value in of_steps.items()}
        module.log("train/loss", loss, prog_bar=True)
        module.log_dict(metrics | {"step": float(self._step)})  # `step` is the loggers' x-axis
        if self._record:
            self._record.update(
                {
                    "step": self._step,
                    "loss": loss,
                    "learning_rate": self._rate,
                    "tokens": tokens,
                    "examples": examples,
                    "seconds": round(seconds, 3),
                    **of_steps,
                }
            )


def _validates_now(trainer: Any) -> bool:
    """Return whether Lightning validates after the pass that has just been made."""
    return bool(trainer.fit_loop.epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher))
