"""Build Lightning's Trainer from the arguments of `trainer=`."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import ProgressBar, RichModelSummary
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from codetool.errors import ConfigError, MissingError
from codetool.training.checkpoint_files import AtomicCheckpointIO
from codetool.training.strategies import FSDP2Strategy, is_deepspeed, make_strategy

PROFILE = "profile"
"""Name of the reports of `trainer.profiler` in the run folder, before which Lightning writes `fit-`."""
ROUNDING_PRECISIONS = ("bf16-true", "16-true", "transformer-engine-float16")
"""Values of `trainer.precision` that would convert the trained weights themselves."""


def build_trainer(
    call: partial[lightning.Trainer],
    *,
    folder: Path | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    loggers: Sequence[Logger] = (),
    validates: bool = True,
) -> lightning.Trainer:
    """Return Lightning's Trainer with the arguments of `trainer=` and those that a stage sets.

    `folder` is the run folder, `callbacks` are all callbacks, and `validates` says whether there are validation data.
    Raises ConfigError if Lightning refuses an argument, and MissingError if devices or a package are missing.
    """
    arguments = _complete_arguments(call.keywords)
    _check_devices(arguments)
    # Lightning's own progress bar is used if it is among the callbacks, else the one of the stage.
    arguments["enable_progress_bar"] = any(isinstance(callback, ProgressBar) for callback in callbacks)
    arguments |= {
        "default_root_dir": folder,
        "callbacks": list(callbacks),
        "logger": list(loggers) or False,
        "enable_checkpointing": bool(callbacks),
        "reload_dataloaders_every_n_epochs": 1,
        "use_distributed_sampler": False,
    }
    if arguments.get("enable_model_summary"):
        arguments["callbacks"] += [RichModelSummary()]  # which prints, where Lightning's other one logs
    if not validates:
        arguments["limit_val_batches"] = 0
    trainer = _call_lightning(call.func, arguments)
    if folder is not None and isinstance(arguments.get("profiler"), str):
        _write_profile_to(folder, trainer)
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy={call.keywords['strategy']}: starts processes by fork or spawn, which cannot run a "
            "stage. Choose ddp, fsdp or deepspeed."
        )
    return trainer


def _call_lightning(trainer_class: Callable[..., lightning.Trainer], arguments: Mapping[str, Any]) -> lightning.Trainer:
    """Construct the trainer. Raises ConfigError if Lightning refuses an argument."""
    try:
        with silence_lightning():
            return trainer_class(**arguments)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def _write_profile_to(folder: Path, trainer: Any) -> None:
    """Let the profiler, which was chosen by its name, write its report to a folder instead of logging it."""
    trainer.profiler = type(trainer.profiler)(dirpath=folder, filename=PROFILE)


def _complete_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that are null, and with what Lightning calls by other names."""
    arguments = {name: value for name, value in given.items() if value is not None or name in NULL_ARGUMENTS}
    if arguments.get("max_epochs") is None:
        arguments["max_epochs"] = 1 if arguments.get("max_steps", -1) == -1 else -1
    precision = arguments.get("precision")
    strategy = make_strategy(arguments.get("strategy", "auto"), precision)
    if precision in ROUNDING_PRECISIONS and not is_deepspeed(strategy):
        raise ConfigError(
            f"trainer.precision={precision}: would round the trained weights too, and small updates with them. Did you "
            "mean tuning.base_dtype=bfloat16, the number format of the frozen weights? Or compute in bfloat16: "
            "trainer.precision=bf16-mixed."
        )
    arguments["strategy"] = strategy
    if isinstance(strategy, FSDP2Strategy):
        arguments["precision"] = "32-true"  # it casts by itself
    if not is_deepspeed(strategy):
        arguments["plugins"] = [*_to_list(arguments.get("plugins")), AtomicCheckpointIO()]
    return arguments


NULL_ARGUMENTS = ("check_val_every_n_epoch",)
"""Arguments of which null means something else than their default."""


def _to_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _check_devices(arguments: Mapping[str, Any]) -> None:
    gpus, devices = torch.cuda.device_count(), arguments.get("devices", "auto")
    accelerator = arguments.get("accelerator", "auto")
    if accelerator in ("gpu", "cuda") and not gpus:
        raise MissingError(f"trainer.accelerator={accelerator}: PyTorch sees no GPU here; choose trainer=cpu")
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus)
    if on_gpu and isinstance(devices, int) and devices > gpus:
        raise MissingError(f"trainer.devices={devices}: there are {gpus} GPUs here")


def count_local_processes(trainer: lightning.Trainer) -> int:
    """Return the number of processes of this machine."""
    return max(1, trainer.num_devices)


def choose_threads(requested: int, processes: int) -> int:
    """Return the number of CPU threads of each process: `requested`, or an equal share of the cores if it is 0."""
    return requested or max(1, (os.cpu_count() or 1) // processes)


@contextmanager
def silence_lightning() -> Iterator[None]:
    """Silence the warnings and log messages of Lightning, PyTorch and PEFT below errors; exceptions still propagate.

    Lightning's callbacks log only what they are asked to.
    """
    logging.getLogger("pytorch_lightning.callbacks").setLevel(logging.INFO)
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
