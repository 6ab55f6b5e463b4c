"""Run Lightning's trainer in one process, from the start or from the last checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers import Logger

from codetool.errors import CodeToolError
from codetool.runs import journal
from codetool.training.module import SFT, MetricsFunction
from codetool.training.run_callback import (
    VALIDATIONS,
    Interrupted,
    ProgressObserver,
    RunCallback,
    SignalHandler,
    TrainingLog,
    is_out_of_patience,
)
from codetool.training.train_job import LAST, TrainJob
from codetool.training.trainable_model import TrainableModel


def fit(
    job: TrainJob,
    rank: int,
    observer: ProgressObserver | None,
    measure: MetricsFunction | None,
    loggers: Sequence[Logger] = (),
) -> None:
    """Train to the end, resuming from the last checkpoint if there is one.

    `observer` is told the progress and is None in all processes but the first; `measure` computes the validation
    metrics of a PRM; `loggers` log every update and validation. Raises KeyboardInterrupt after Ctrl-C or SIGTERM, once
    the state of the last complete update has been saved, and CodeToolError if training diverges or ends before all
    updates have been made.
    """
    last_checkpoint = job.checkpoints / LAST
    updates_made = count_updates(last_checkpoint)
    earlier_losses = [
        line["validation_loss"]
        for line in journal.read_records(job.folder / VALIDATIONS)
        if line["step"] <= updates_made
    ]
    updates = job.updates()
    if updates_made >= updates or is_out_of_patience(earlier_losses, job.settings.early_stopping_patience):
        return
    torch.set_num_threads(job.devices.threads_per_process(job.settings.threads))
    signals = SignalHandler(observer)
    try:
        with ExitStack() as stack:
            stack.enter_context(_silence_lightning())
            stack.callback(_leave_process_group)
            signals.listen(stack)
            training_log = TrainingLog(job.folder, updates_made, observer, stack) if observer else None
            module = SFT(lambda: _load_model(job, module), job.settings, job.labels, updates, measure)
            trainer = _make_trainer(job, RunCallback(job, training_log, signals, earlier_losses), loggers)
            trainer.fit(module, job.data(rank), ckpt_path=last_checkpoint if updates_made else None, weights_only=False)
    except Interrupted:
        raise KeyboardInterrupt from None
    if signals.asked:  # in the last update
        raise KeyboardInterrupt
    if trainer.global_step != updates and not is_out_of_patience(earlier_losses, job.settings.early_stopping_patience):
        raise CodeToolError(
            f"{job.folder}: training has ended after {trainer.global_step} updates, where {updates} were to be made. "
            "Its checkpoints are not to be trusted; fresh=true trains anew."
        )


def _leave_process_group() -> None:
    """Destroy the process group, which Lightning leaves open."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def count_updates(checkpoint: Any) -> int:
    """Return the number of updates made before a checkpoint was written; 0 if the checkpoint does not exist."""
    if checkpoint.is_dir():  # DeepSpeed's
        return int(torch.load(next(checkpoint.rglob("mp_rank_00_model_states.pt")), weights_only=False)["global_step"])
    return int(torch.load(checkpoint, weights_only=True, mmap=True)["global_step"]) if checkpoint.is_file() else 0


def _make_trainer(job: TrainJob, callback: RunCallback, loggers: Sequence[Logger]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=job.devices.device,
        devices=job.devices.count,
        strategy=_make_strategy(job),
        precision=_choose_precision(job),
        max_epochs=job.settings.epochs,
        accumulate_grad_batches=job.settings.gradient_accumulation_steps,
        gradient_clip_val=job.settings.max_grad_norm if job.trainer.strategy == "deepspeed" else None,
        limit_val_batches=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        callbacks=[callback],
        plugins=[LightningEnvironment()],
        default_root_dir=job.folder,
        logger=list(loggers),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _choose_precision(job: TrainJob) -> Any:
    """Return the precision for Lightning, which casts the layers' computation unless the weights are cast already."""
    precision = job.trainer.precision
    if job.trainer.strategy == "deepspeed":
        return precision
    if precision == "32-true" or (precision == "bf16-true" and job.tuning.method != "full"):
        return "32-true"  # which leaves every weight as it is
    return "32-true" if job.trainer.strategy == "fsdp" else "bf16-mixed"  # FSDP casts for itself


def _make_strategy(job: TrainJob) -> Any:
    backend = "gloo" if job.devices.device == "cpu" else "nccl"
    if job.trainer.strategy == "ddp" and job.devices.count > 1:
        from pytorch_lightning.strategies import DDPStrategy

        return DDPStrategy(process_group_backend=backend)
    if job.trainer.strategy == "fsdp":
        from pytorch_lightning.strategies import ModelParallelStrategy

        return ModelParallelStrategy(
            data_parallel_size=job.devices.count,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=backend,
        )
    if job.trainer.strategy == "deepspeed":
        from pytorch_lightning.strategies import DeepSpeedStrategy

        return DeepSpeedStrategy(stage=3, exclude_frozen_parameters=job.tuning.method != "full")
    return "auto"


def _load_model(job: TrainJob, module: SFT) -> TrainableModel:
    trained = job.load()
    if job.trainer.strategy == "fsdp":
        assert module.device_mesh is not None
        _shard_weights(trained, module.device_mesh["data_parallel"], job)
    return trained


def _shard_weights(trained: TrainableModel, mesh: Any, job: TrainJob) -> None:
    """Shard every weight over the processes with FSDP2; each layer's weights are gathered when it is computed."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    cast = job.trainer.precision != "32-true" and _is_all_float32(trained)
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if cast else MixedPrecisionPolicy()
    for layer in trained.unwrapped.base_model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(trained, mesh=mesh, mp_policy=policy)


def _is_all_float32(trained: TrainableModel) -> bool:
    return all(weight.dtype == torch.float32 for weight in trained.parameters())


@contextmanager
def _silence_lightning() -> Iterator[None]:
    """Silence the warnings and log messages of Lightning, PyTorch and PEFT below errors; exceptions still propagate."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric", "torch.distributed")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for module in ("pytorch_lightning", "lightning_fabric", "torch", "peft"):
            warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
