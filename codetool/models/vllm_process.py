"""One vLLM server: its command, its environment, its start, what it did, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from codetool.credentials.secret_names import is_secret_variable
from codetool.errors import MissingError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOG_INTERVAL = 15.0
"""Between two lines about a server that is not up yet."""
SHUTDOWN_SECONDS = 10.0
"""The supervisor needs five at most."""
TAIL_LINES = 12
"""Lines of the log that an error shows."""

PASSED_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "HF_HOME",
    "HF_HUB_CACHE",
)  # fmt: skip
"""Environment variables that the server gets; keys and tokens are not among them."""
PASSED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "KMP_", "MKL_", "TORCH", "TRITON_", "VLLM_")


@dataclass(frozen=True)
class ServerCommand:
    """What to start: arguments of vLLM's server, and environment variables beyond those passed on."""

    name: str
    """What messages call it."""
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Usage:
    """What a server did while it was up."""

    tokens_in: int
    """Prompt tokens, those from the prefix cache included."""
    tokens_cached: int
    """Prompt tokens that the prefix cache held."""
    tokens_looked_up: int
    """Prompt tokens that the prefix cache was asked for."""
    tokens_out: int
    """New tokens."""
    seconds: float
    """Wall time since it was ready, idle time included."""

    @property
    def hit_rate(self) -> float | None:
        """Share of prompt tokens that the prefix cache held, None where there were none."""
        return self.tokens_cached / self.tokens_looked_up if self.tokens_looked_up else None


@dataclass(frozen=True)
class ServerLog:
    """What a server says: a file from a place on, for earlier servers may have written to it."""

    file: Path
    begin: int

    def tail(self) -> str:
        """The first errors that it names, and its last lines."""
        with self.file.open("rb") as stream:
            stream.seek(self.begin)
            text = stream.read().decode(errors="replace").splitlines()
        errors = [line for line in text if re.search(r"\b\w*(Error|Exception): ", line)]
        return "\n".join(dict.fromkeys([*errors[:3], *text[-TAIL_LINES:]])) or "It said nothing."


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    root: str
    """Its address without a version, `http://127.0.0.1:41233`."""
    ready: float
    """When it was ready, on the monotonic clock."""
    log: ServerLog
    """What it says."""

    async def read_usage(self) -> Usage | None:
        """What it did so far, from its own metrics; None if it does not tell."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
                counted = parse_counters((await http.get(f"{self.root}/metrics")).text)
            return Usage(
                tokens_in=counted.get("prompt_tokens", 0),
                tokens_cached=counted.get("prefix_cache_hits", 0),
                tokens_looked_up=counted.get("prefix_cache_queries", 0),
                tokens_out=counted.get("generation_tokens", 0),
                seconds=time.monotonic() - self.ready,
            )
        return None


def parse_counters(metrics: str) -> dict[str, int]:
    """The counters of a server by their short names, summed over engines, from the text of `/metrics`."""
    found: dict[str, int] = {}
    for name, value in re.findall(r"^vllm:(\w+)_total(?:\{.*\})? (\S+)$", metrics, re.MULTILINE):
        found[name] = found.get(name, 0) + int(float(value))
    return found


@asynccontextmanager
async def start_server(command: ServerCommand, file: Path, timeout: float) -> AsyncIterator[RunningServer]:
    """The server once it answers; ended afterwards with all its processes. What it says is appended to `file`.

    Raises MissingError if it ends or stays silent for `timeout` seconds; the message has the last lines of the log.
    """
    log_file = ServerLog(file, file.stat().st_size if file.exists() else 0)
    port = _find_free_port()
    words = ["-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    process = _start_process(
        [sys.executable, *words, *command.arguments], build_environment() | dict(command.environment), file
    )
    try:
        began = time.monotonic()
        root = f"http://127.0.0.1:{port}"
        await _wait_until_healthy(command.name, root, process, log_file, timeout)
        log.info("%s is up after %.0f s, its log is %s", command.name, time.monotonic() - began, file.name)
        yield RunningServer(root, time.monotonic(), log_file)
    finally:
        await asyncio.shield(_end_process(process))


def build_environment() -> dict[str, str]:
    """Our environment without what the server has no use for, secrets above all; no hub is asked, nothing reported."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_VARIABLES or (name.startswith(PASSED_PREFIXES) and not is_secret_variable(name))
    }
    cores = sorted(os.sched_getaffinity(0))
    # Without this the CPU build leaves a core to others.
    bound = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    return bound | passed | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _start_process(command: Sequence[str], variables: Mapping[str, str], file: Path) -> subprocess.Popen[bytes]:
    with file.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "codetool.models.vllm_watchdog", *command],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env=variables,
            start_new_session=True,  # Ctrl-C goes to the run, which then ends the server in order
        )


async def _wait_until_healthy(
    name: str, root: str, process: subprocess.Popen[bytes], file: ServerLog, timeout: float
) -> None:
    """Return when the server is healthy."""
    began = told = time.monotonic()
    async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"{root}/health")).is_success:
                    return
            now = time.monotonic()
            if process.poll() is not None:
                raise MissingError(f"{name} ended before it answered.\n{file.tail()}")
            if now - began > timeout:
                raise MissingError(f"{name} did not answer within {timeout:g} s (`vllm.start_timeout`).\n{file.tail()}")
            if now - told > LOG_INTERVAL:
                told = now
                log.info("waiting for %s: %.0f s, at most %g s", name, now - began, timeout)
            await asyncio.sleep(POLL_SECONDS)


async def _end_process(process: subprocess.Popen[bytes]) -> None:
    """Let go of the server, and wait until its supervisor has ended all of it."""
    if process.stdin:
        process.stdin.close()
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
        await asyncio.sleep(0.05)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
