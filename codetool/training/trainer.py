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
"""Number of processes on a CPU if `strategy` needs several and `devices` is `auto`."""


@settings(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainerConfig:
    """Settings of the option group `trainer=`: the hardware, how processes share the work, and the precision."""

    accelerator: Literal["auto", "cpu", "gpu"]
    """Kind of device to train on; `auto` is a GPU if there is one, else the CPU."""
    devices: PositiveInt | Literal["auto"]
    """Number of GPUs, or of processes on a CPU. `auto`: all GPUs if a strategy shares the work, else one; on a CPU two
    processes with `ddp` or `fsdp`, else one."""
    strategy: Literal["auto", "ddp", "fsdp", "deepspeed"]
    """How the processes share the work. `auto`: a single process; `ddp`: each process has the whole model; `fsdp`: each
    process has a shard of every weight (FSDP2); `deepspeed`: ZeRO stage 3."""
    precision: Literal["bf16-true", "bf16-mixed", "32-true"]
    """Number format. `bf16-true`: frozen weights and matrix products in bfloat16. `bf16-mixed`: weights in float32,
    matrix products in bfloat16. `32-true`: all in float32. Trained weights are always float32: in bfloat16, updates at
    a usual learning rate would be rounded away."""

    def find_devices(self) -> Devices:
        """Return the devices that the settings select on this machine.

        Raises ConfigError for a contradiction, and MissingError if devices or a package are missing.
        """
        import torch

        gpus = torch.cuda.device_count()
        on_gpu = self.accelerator == "gpu" or (self.accelerator == "auto" and gpus > 0)
        if on_gpu and not gpus:
            raise MissingError("trainer.accelerator=gpu: PyTorch sees no GPU here; choose trainer=cpu")
        cpu_processes = DEFAULT_CPU_PROCESSES if self.strategy in ("ddp", "fsdp") else 1
        world = (
            self.devices if self.devices != "auto" else gpus if on_gpu and self.strategy != "auto" else cpu_processes
        )
        if on_gpu and world > gpus:
            raise MissingError(f"trainer.devices={world}: there are {gpus} GPUs here")
        if world > 1 and self.strategy == "auto":
            raise ConfigError(f"trainer.devices={world} needs a strategy: trainer=ddp or trainer=fsdp")
        if self.strategy == "deepspeed" and find_spec("deepspeed") is None:
            raise MissingError("trainer=deepspeed needs a package: pip install deepspeed; or choose trainer=fsdp")
        return Devices("gpu" if on_gpu else "cpu", world)


@dataclass(frozen=True)
class Devices:
    """Devices of one kind, each used by one process."""

    device: Literal["cpu", "gpu"]
    count: int
    """Number of devices, and so of processes."""

    def threads_per_process(self, requested: int) -> int:
        """Return the number of CPU threads of each process: `requested`, or an equal share of the cores if it is 0."""
        return requested or max(1, (os.cpu_count() or 1) // self.count)
