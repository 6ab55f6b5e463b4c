"""Divide the GPUs, or without a GPU the CPU cores, among the vLLM servers of one model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from codetool.errors import ConfigError

GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
CORE_VARIABLE = "VLLM_CPU_OMP_THREADS_BIND"
"""Variable with the cores of each process of a CPU server: `0,1|2,3` for two processes."""


def list_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs that servers may use, in the form of CUDA_VISIBLE_DEVICES; empty on a machine without one."""
    visible = environment.get(GPU_VARIABLE)
    if visible is not None:
        return [name for part in visible.split(",") if (name := part.strip()) and name != "-1"]
    count = sum(re.fullmatch(r"nvidia\d+", file.name) is not None for file in devices.glob("nvidia*"))
    return [str(number) for number in range(count)]


def divide_gpus(gpus: Sequence[str], replicas: int, tensor_parallel: int, data_parallel: int) -> list[dict[str, str]]:
    """Return the environment variables of each server, with GPUs of its own; none for a single server.

    Raises ConfigError if there are too few GPUs.
    """
    size = tensor_parallel * data_parallel
    if size * replicas > len(gpus):
        raise ConfigError(
            f"vllm.replicas={replicas} vllm.tensor_parallel={tensor_parallel} vllm.data_parallel={data_parallel} take "
            f"{size * replicas} GPUs, and this machine shows {len(gpus)} ({', '.join(gpus)}). Lower one of them, or "
            f"check {GPU_VARIABLE}."
        )
    if replicas == 1:
        return [{}]
    return [{GPU_VARIABLE: ",".join(gpus[number * size : (number + 1) * size])} for number in range(replicas)]


def divide_cores(cores: Sequence[int], replicas: int, processes: int) -> list[dict[str, str]]:
    """Return the environment variables of each CPU server, with cores of its own; none for a single process.

    `processes` is the number of processes of each server. With fewer cores than processes, some share a core.
    """
    total = replicas * processes
    if total == 1:
        return [{}]
    groups = [list(cores[len(cores) * i // total : len(cores) * (i + 1) // total]) for i in range(total)]
    texts = [",".join(map(str, group or [cores[i % len(cores)]])) for i, group in enumerate(groups)]
    return [{CORE_VARIABLE: "|".join(texts[i * processes : (i + 1) * processes])} for i in range(replicas)]
