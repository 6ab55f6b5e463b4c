"""Settings of the hardware that training runs on, and the devices that they select."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass as settings

from codetool.errors import ConfigError, MissingError

DEFAULT_CPU_PROCESSES = 2
"""Processes of a CPU where several are wanted and none says how many."""


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainerConfig:
    """Settings of `trainer=`."""

    accelerator: Literal["auto", "cpu", "gpu"]
    """What computes; `auto` is a GPU if there is one."""
    devices: PositiveInt | Literal["auto"]
    """How many of them; on a CPU, processes. `auto`: all GPUs; on a CPU two where a strategy shares work, else one."""
    strategy: Literal["auto", "ddp", "fsdp", "deepspeed"]
    """How they share the work. `auto`: one process; `ddp`: each has the whole model; `fsdp`: each has a part of every
    weight (FSDP2); `deepspeed`: ZeRO stage 3."""
    precision: Literal["bf16-true", "bf16-mixed", "32-true"]
    """`bf16-true`: frozen weights in bfloat16, products too. `bf16-mixed`: weights in float32, products in bfloat16.
    `32-true`: all in float32. Weights that are trained are float32 whatever it is: in bfloat16, steps of a usual
    learning rate would be rounded away."""

    def find_devices(self) -> Devices:
        """What the settings come to on this machine. Raises ConfigError or MissingError where they cannot be met."""
        import torch

        gpus = torch.cuda.device_count()
        on_gpu = self.accelerator == "gpu" or (self.accelerator == "auto" and gpus > 0)
        if on_gpu and not gpus:
            raise MissingError("trainer.accelerator=gpu: PyTorch sees no GPU here; choose trainer=cpu")
        several = DEFAULT_CPU_PROCESSES if self.strategy in ("ddp", "fsdp") else 1
        world = self.devices if self.devices != "auto" else gpus if on_gpu and self.strategy != "auto" else several
        if on_gpu and world > gpus:
            raise MissingError(f"trainer.devices={world}: there are {gpus} GPUs here")
        if world > 1 and self.strategy == "auto":
            raise ConfigError(f"trainer.devices={world} needs a strategy: trainer=ddp or trainer=fsdp")
        if self.strategy == "deepspeed" and find_spec("deepspeed") is None:
            raise MissingError("trainer=deepspeed needs a package: pip install deepspeed; or choose trainer=fsdp")
        return Devices("gpu" if on_gpu else "cpu", world)


@dataclass(frozen=True)
class Devices:
    """Devices of one kind, a process for each."""

    device: Literal["cpu", "gpu"]
    count: int

    def threads_per_process(self, wanted: int) -> int:
        """CPU threads of each process; 0 shares the cores among them."""
        return wanted or max(1, (os.cpu_count() or 1) // self.count)
