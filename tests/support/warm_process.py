"""Run `python run.py` in a fork of a process that has imported everything already: a tenth of the start-up time.

A command gets what it would get from a shell: a process of its own with its own arguments, environment, standard
streams and exit code. The parent of the forks imports and never computes, so that it has a single thread.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from parsed_options import keep_parsed_options

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "hydra", "torch", "transformers", "pytorch_lightning", "peft", "openai.resources.chat", "fastapi", "uvicorn",
    "anyio._backends._asyncio", "httpcore", "jiter", "antlr4.LL1Analyzer", "rich._emoji_codes", "encodings.utf_8_sig",
)  # fmt: skip
"""What the modules of codetool import where they are called."""
ADDRESS_VARIABLE = "CODETOOL_TESTS_WARM_PROCESS"
"""Environment variable with the address of the warm process that test processes share."""
START_SECONDS = 300.0
GC_THRESHOLDS = (20_000, 10, 10)
"""Tests and their commands are short: rare garbage collections save more time than their memory is worth."""
LEFT_OUT = ("codetool.__main__", "codetool.execution.inside.", "codetool.stages.engine.ray_cluster")
"""Modules that run when they are imported, that belong into the sandbox, or that need an extra."""


def run_warm(command: Sequence[str], *, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns for `[python, run.py, *words]`, run in a fork of the warm process."""
    process = WarmProcess(command)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


class WarmProcess:
    """A command in a fork of the warm process, with what tests use of `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start `[python, run.py, *words]`, with the environment of now unless another one is given."""
        self.args = list(command)
        self.returncode: int | None = None
        self._texts: tuple[str, str] | None = None
        self._files = (tempfile.TemporaryFile(), tempfile.TemporaryFile())  # noqa: SIM115
        self._connection = _connect()
        request = {"words": self.args[2:], "environment": dict(environment or os.environ), "folder": str(ROOT)}
        descriptors = [file.fileno() for file in self._files]
        socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
        self._connection.shutdown(socket.SHUT_WR)
        self.pid = int(self._read_line())

    def poll(self) -> int | None:
        """The exit code, None while the command runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = int(self._read_line())
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What the command wrote to standard output and error, once it has ended. Raises TimeoutExpired."""
        if self.poll() is None and not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.poll()
        if self._texts is None:
            out, err = (_content(file).decode() for file in self._files)
            self._texts = out, err
            for file in self._files:
                file.close()
        return self._texts

    def first_line(self, timeout: float = 60) -> str:
        """The first line on standard output as soon as it is there, empty if the command ended without one."""
        end = time.monotonic() + timeout
        while b"\n" not in (written := _content(self._files[0])) and self.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.args}: no line within {timeout} s")
            time.sleep(0.01)
        return written.decode().split("\n")[0]

    def send_signal(self, number: int) -> None:
        """Send a signal to the command if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the command as the kernel does when memory is short."""
        self.send_signal(signal.SIGKILL)

    def _read_line(self) -> str:
        """The warm process answers with one line when the command starts and one when it ends."""
        self._connection.settimeout(START_SECONDS)
        line = b""
        while not line.endswith(b"\n"):
            byte = self._connection.recv(1)
            if not byte:
                raise RuntimeError("the warm process is gone")
            line += byte
        return line.decode()


def _content(file: IO[bytes]) -> bytes:
    """What a command has written so far; the position at which it goes on is shared with it and stays."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def share_warm_process() -> None:
    """Start the warm process of this process and of all test processes that it starts."""
    os.environ[ADDRESS_VARIABLE] = str(_launch_server())


def _connect() -> socket.socket:
    """A connection to the warm process, which takes seconds to start."""
    address = os.environ.get(ADDRESS_VARIABLE) or str(_launch_server())
    end = time.monotonic() + START_SECONDS
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(address)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


@cache
def _launch_server() -> Path:
    """Start a warm process that ends with this one; returns the address at which it will listen."""
    address = Path(tempfile.mkdtemp()) / "socket"
    server = subprocess.Popen([sys.executable, __file__, str(address)], cwd=ROOT, stdin=subprocess.PIPE)
    atexit.register(server.communicate)  # it ends when its standard input does
    return address


def serve(address: str) -> None:
    """Fork for each request on the socket until standard input ends."""
    import importlib

    sys.path.insert(0, str(ROOT))
    from hydra.core.plugins import Plugins

    import codetool
    from codetool.http.connection_pools import load_ssl_context

    packages = pkgutil.walk_packages(codetool.__path__, "codetool.")
    for name in (*PRELOADED, *(module.name for module in packages if not module.name.startswith(LEFT_OUT))):
        importlib.import_module(name)
    Plugins.instance()  # looks through Hydra's own plugins
    keep_parsed_options()
    _compose_once()
    _load_replica()
    load_ssl_context()
    gc.collect()
    gc.freeze()  # no fork copies memory in order to look through what was imported
    gc.set_threshold(*GC_THRESHOLDS)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    _accept_commands(listener)


def _accept_commands(listener: socket.socket) -> None:
    """Fork a process for each command, and tell its pid and its exit code. Never returns."""
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, ended], [], [])
        if ended in ready:
            os.read(ended, 1 << 16)
            while running and (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                with running.pop(found[0]) as connection:
                    _answer(connection, os.waitstatus_to_exitcode(found[1]))
        if listener in ready:
            connection, _ = listener.accept()
            request, descriptors = _receive(connection)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for open_socket in (listener, connection, *running.values()):
                    open_socket.close()
                _run_command(request, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            running[pid] = connection
            _answer(connection, pid)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    """Receive a request, and the file descriptors of standard output and error."""
    received, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    while part := connection.recv(1 << 20):
        received += part
    return json.loads(received), descriptors


def _answer(connection: socket.socket, number: int) -> None:
    """Send one line to the test that asked, if it still listens."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(f"{number}\n".encode())


def _compose_once() -> None:
    """Compose and validate once, so that the parsers of overrides and interpolations have learned their grammar."""
    from codetool.config.overrides import compose_all, validate_all

    validate_all(compose_all(["policy=openai", "policy.model=m", "policy.base_url=http://localhost/v1", "prm=none"]))


def _load_replica() -> None:
    """Load the replica of TMDB and what its searches look through."""
    from datetime import date

    from codetool.tmdb.replica import load_app

    store = load_app(date(2024, 6, 1)).state.catalog.store  # the date in conf/replica/tmdb.yaml
    for name in ("movie_index", "show_index", "person_index", "movies_of", "shows_of"):
        getattr(store, name)


def _run_command(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be `python run.py WORDS`. Never returns."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, descriptor in enumerate(descriptors, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: PTH123, SIM115
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["run.py", *request["words"]]
    sys.path[0] = request["folder"]
    code = 1
    try:
        import runpy

        runpy.run_path("run.py", run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does before it ends
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
