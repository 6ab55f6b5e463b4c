"""Start, monitor and end vLLM server processes, and read their usage."""

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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from codetool.credentials.secret_names import is_secret_variable
from codetool.errors import MissingError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOG_INTERVAL = 15.0
"""Seconds between two log messages about a server that is still starting."""
SHUTDOWN_SECONDS = 10.0
"""Seconds after which the watchdog process is killed; it needs five at most."""
TAIL_LINES = 12
"""Number of log lines that an error message shows."""

PASSED_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "HF_HOME",
    "HF_HUB_CACHE",
)  # fmt: skip
"""Environment variables that are passed to the server; keys and tokens are not among them."""
PASSED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "OMP_", "KMP_", "MKL_", "TORCH", "TRITON_", "VLLM_")


@dataclass(frozen=True)
class ServerCommand:
    """Description of a server to start: arguments of vLLM's server, and additional environment variables."""

    name: str
    """Name of the server in messages."""
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    """Names and values of the variables."""


@dataclass(frozen=True)
class Usage:
    """Token counts of a server since it was ready."""

    tokens_in: int
    """Number of prompt tokens, including those from the prefix cache."""
    tokens_cached: int
    """Number of prompt tokens that were found in the prefix cache."""
    tokens_looked_up: int
    """Number of prompt tokens that were looked up in the prefix cache."""
    tokens_out: int
    """Number of generated tokens."""
    seconds: float
    """Wall time since the server was ready, idle time included."""

    def subtract(self, earlier: Usage) -> Usage:
        """Return the usage since an earlier one."""
        counts = {name: value - getattr(earlier, name) for name, value in asdict(self).items()}
        return Usage(**counts)

    @property
    def hit_rate(self) -> float | None:
        """Fraction of the looked-up prompt tokens that were in the prefix cache; None without any."""
        return self.tokens_cached / self.tokens_looked_up if self.tokens_looked_up else None


@dataclass(frozen=True)
class ServerLog:
    """Log of one server: the part of a file after `begin`, since earlier servers may have written to the file."""

    file: Path
    begin: int
    """Offset of the log in the file, in bytes."""

    def tail(self) -> str:
        """Return the first errors in the log and its last lines."""
        with self.file.open("rb") as stream:
            stream.seek(self.begin)
            text = stream.read().decode(errors="replace").splitlines()
        errors = [line for line in text if re.search(r"\b\w*(Error|Exception): ", line)]
        return "\n".join(dict.fromkeys([*errors[:3], *text[-TAIL_LINES:]])) or "It said nothing."


@dataclass(frozen=True)
class RunningServer:
    """A server that is ready to answer requests."""

    root: str
    """URL of the server without `/v1`, for example `http://127.0.0.1:41233`."""
    ready: float
    """Time of the monotonic clock, in seconds, at which it was ready."""
    log: ServerLog
    """Log of the server."""
    process: subprocess.Popen[bytes]
    """The watchdog, which ends the server with all its processes."""

    async def is_healthy(self) -> bool:
        """Return whether the server still answers."""
        return self.process.poll() is None and await _answers_health_check(self.root)

    async def read_usage(self) -> Usage | None:
        """Return the usage so far, from the server's metrics; None if the server does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
                counters = parse_counters((await http.get(f"{self.root}/metrics")).text)
            return Usage(
                tokens_in=counters.get("prompt_tokens", 0),
                tokens_cached=counters.get("prefix_cache_hits", 0),
                tokens_looked_up=counters.get("prefix_cache_queries", 0),
                tokens_out=counters.get("generation_tokens", 0),
                seconds=time.monotonic() - self.ready,
            )
        return None


def parse_counters(metrics: str) -> dict[str, int]:
    """Return vLLM's counters by their short names, summed over engines, from the text of `/metrics`."""
    counters: dict[str, int] = {}
    for name, value in re.findall(r"^vllm:(\w+)_total(?:\{.*\})? (\S+)$", metrics, re.MULTILINE):
        counters[name] = counters.get(name, 0) + int(float(value))
    return counters


async def start_server(command: ServerCommand, file: Path, timeout: float) -> RunningServer:
    """Start a server and return it once it is healthy; `end_processes` ends it.

    Its output is appended to `file`. Raises MissingError if it ends or is not healthy within `timeout` seconds; the
    message contains the last lines of the log.
    """
    log_file = ServerLog(file, file.stat().st_size if file.exists() else 0)
    port = _find_free_port()
    server_arguments = ["-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    process = _start_process(
        [sys.executable, *server_arguments, *command.arguments], build_environment() | dict(command.environment), file
    )
    try:
        started = time.monotonic()
        root = f"http://127.0.0.1:{port}"
        await _wait_until_healthy(command.name, root, process, log_file, timeout)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(end_processes, [process]))
        raise
    log.info("%s is up after %.0f s, its log is %s", command.name, time.monotonic() - started, file.name)
    return RunningServer(root, time.monotonic(), log_file, process)


def build_environment() -> dict[str, str]:
    """Return the server's environment: the variables it needs, without secrets, and with hub and telemetry disabled."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_VARIABLES or (name.startswith(PASSED_PREFIXES) and not is_secret_variable(name))
    }
    cores = sorted(os.sched_getaffinity(0))
    # Without this the CPU build leaves a core to others.
    binding = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores))}
    return binding | passed | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


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
    """Return once the server is healthy. Raises MissingError if it ends or does not become healthy in time."""
    started = last_logged = time.monotonic()
    while True:
        if await _answers_health_check(root):
            return
        now = time.monotonic()
        if process.poll() is not None:
            raise MissingError(f"{name} ended before it answered.\n{file.tail()}")
        if now - started > timeout:
            raise MissingError(f"{name} did not answer within {timeout:g} s (`vllm.start_timeout`).\n{file.tail()}")
        if now - last_logged > LOG_INTERVAL:
            last_logged = now
            log.info("waiting for %s: %.0f s, at most %g s", name, now - started, timeout)
        await asyncio.sleep(POLL_SECONDS)


async def _answers_health_check(root: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as http:
            return (await http.get(f"{root}/health")).is_success
    return False


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Have watchdogs end their servers, and wait until they have ended.

    They are sent SIGTERM: a sandbox that was started after a server may hold a copy of the watchdog's standard input,
    so that closing it would not be enough.
    """
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while any(process.poll() is None for process in processes):
        if time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    for process in processes:
        if process.stdin:
            process.stdin.close()


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
