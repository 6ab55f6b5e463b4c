"""Run `python run.py` in a fork of a process that has imported everything already: a tenth of the start-up time.

A command gets what it would get from a shell: a process of its own with its own arguments, environment, standard
streams and exit code. The test processes of the whole suite are forks of that process too.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
ADDRESS_VARIABLE = "CODETOOL_TESTS_WARM_PROCESS"
"""Environment variable with the address of the warm process that test processes share."""
FORKED_PYTHON = shlex.join([sys.executable, __file__])
"""A command that takes `-c CODE` as Python does, and runs it in a fork of the warm process."""
START_SECONDS = 300.0
GC_THRESHOLDS = (20_000, 10, 10)
"""Tests and their commands are short: rare garbage collections save more time than their memory is worth."""


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
        request = {"words": self.args[2:], "environment": dict(environment or os.environ)}
        with open(os.devnull) as nothing:  # noqa: PTH123
            _ask(self._connection, request, [nothing, *self._files])
        self.pid = int(_read_line(self._connection))

    def poll(self) -> int | None:
        """The exit code, None while the command runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = int(_read_line(self._connection))
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


def run_code(code: str) -> int:
    """Run `python -c CODE` in a fork of the warm process, with the streams of this process; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the code decides what Ctrl-C does
    with _connect() as connection:
        _ask(connection, {"code": code, "environment": dict(os.environ)}, [sys.stdin, sys.stdout, sys.stderr])
        _read_line(connection)  # its pid
        return int(_read_line(connection, seconds=None))


def _ask(connection: socket.socket, request: Mapping[str, Any], streams: Sequence[IO[Any]]) -> None:
    """Send what is to be run with its standard input, output and error."""
    content = json.dumps({"words": [], "code": None, "folder": str(ROOT), **request}).encode()
    socket.send_fds(connection, [content], [stream.fileno() for stream in streams])
    connection.shutdown(socket.SHUT_WR)


def _read_line(connection: socket.socket, seconds: float | None = START_SECONDS) -> str:
    """The warm process answers with one line when a process starts and one when it ends."""
    connection.settimeout(seconds)
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
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
    command = [sys.executable, str(Path(__file__).with_name("warm_server.py")), str(address)]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    atexit.register(server.communicate)  # it ends when its standard input does
    return address


if __name__ == "__main__":
    sys.exit(run_code(sys.argv[-1]))
