"""A sandboxed process: it copies itself and runs steps when the host says so.

The first of them, the zygote, runs no generated code; every root interpreter is a fork of it, every branch a fork of
its parent. What is promised here of one process (its answers, its narrowing after a fork) generated code in that same
process could break: it then harms itself and its own branches only. What protects siblings and the host, the filter of
system calls, the namespaces, the limits and the layers of its ancestors, is the kernel's and cannot be taken off.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from codetool.execution.inside import event_loop, landlock, limits, scratch, seccomp, transport
from codetool.execution.inside.kernel import PR_SET_NO_NEW_PRIVS, LayerError, keep_capabilities, prctl
from codetool.execution.inside.mounts import NULL
from codetool.execution.inside.run_step import StepOutcome, StepRunner
from codetool.execution.protocol import get_text, receive, send

THREAD_STACK_BYTES = 2**20
"""Bytes of stack for each thread; they count against a branch's memory."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the host asked for. `use` names the layers; `home` holds all scratch folders; sizes are bytes."""

    use: tuple[str, ...]
    home: str
    readable: tuple[str, ...]
    address_space: int
    scratch: int
    output: int
    cpu_seconds: int


class HostConnection:
    """This process's socket to the host. A lock lets threads of a step ask for tools one after the other.

    It is held from the end of a step to the begin of the next: threads that a step left running ask for nothing.
    """

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.token: object = None
        self._lock = threading.Lock()

    def switch_socket(self, socket_: socket.socket) -> None:
        """Speak over another socket from now on: this process is a fresh fork of the one that held the old."""
        self.socket.close()
        self.socket, self._lock = socket_, threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        send(self.socket, {"kind": kind, "token": self.token, **fields})

    def call_tool(self, method: str, url: str, body: str | None, headers: transport.Headers) -> tuple[int, str]:
        """The host's answer to a tool request."""
        with self._lock, _block_alarms():
            self.send("call", method=method, url=url, body=body, headers=headers)
            answer, _ = receive(self.socket)
        return int(answer["status"]), get_text(answer, "body")

    def begin_step(self) -> None:
        """A step begins: it may ask."""
        if self._lock.locked():
            self._lock.release()

    def end_step(self, outcome: StepOutcome) -> None:
        """Tell how a step ended, after the answer that one of its threads may be waiting for."""
        self._lock.acquire()
        self.send("done", observation=outcome.observation, error=outcome.error, stderr=outcome.stderr)

    def send_partial_output(self, printed: Callable[[], str], warned: Callable[[], str]) -> None:
        """Tell what was printed so far, unless the line is in the middle of something else."""
        if self._lock.acquire(blocking=False):
            self.send("output", text=printed(), stderr=warned())


@contextlib.contextmanager
def _block_alarms() -> Iterator[None]:
    """The code's own alarms come later: one between question and answer would leave the answer to the next question."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(socket_: socket.socket, setup: Setup) -> None:
    """Confine this process for good, then serve the host until it closes the line."""
    version, listener = _confine(setup)
    connection, steps = HostConnection(socket_), StepRunner(setup.output)
    transport.install(connection.call_tool)
    event_loop.install()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # branches that end leave no zombie
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: connection.send_partial_output(steps.read_stdout, steps.read_stderr))
    threading.stack_size(THREAD_STACK_BYTES)
    random.seed(0)
    gc.collect()
    gc.freeze()
    send(socket_, {"kind": "hello", "landlock": version}, [listener] if listener >= 0 else [])
    if listener >= 0:
        os.close(listener)  # or the sandbox could give itself leave
    try:
        serve(connection, steps, setup, version)
    except (EOFError, OSError):
        pass  # the host closed the line: it wants this process to end


def serve(connection: HostConnection, steps: StepRunner, setup: Setup, version: int) -> None:
    """Do what the host says, over and over. Raises EOFError when it is gone."""
    folder: str | None = None
    while True:
        message, descriptors = receive(connection.socket)
        connection.token = message.get("token")
        if message["kind"] == "run":
            connection.begin_step()
            connection.end_step(steps.run(get_text(message, "code")))
        elif message["kind"] == "branch":
            if _branch(connection, descriptors[0]):
                settle, _ = receive(connection.socket)
                folder = _enter_folder(connection, folder, get_text(settle, "folder"), setup, version)


def _branch(connection: HostConnection, descriptor: int) -> bool:
    """Fork; whether this is the child."""
    numbers = random.getstate()  # a fork would reseed it, and no two runs would be the same
    try:
        child = os.fork() == 0
    except OSError as error:
        os.close(descriptor)
        connection.send("refused", reason=str(error))
        return False
    if child:
        connection.switch_socket(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor))
        random.setstate(numbers)
    else:
        os.close(descriptor)
        connection.send("branched")
    return child


def _enter_folder(connection: HostConnection, old: str | None, name: str, setup: Setup, version: int) -> str:
    """Move into the branch's own folder (`name`, or stay), close all others to this process, and report."""
    own = f"{setup.home}/{name}" if name else old or setup.home
    if name:
        scratch.move_into_folder(old, own, connection.socket.fileno(), limits.MAX_OPEN_FILES)
        if version:
            landlock.narrow(version, setup.readable, [NULL], own)
    if old is None:
        limits.apply(cpu_seconds=setup.cpu_seconds)  # not the zygote's: it forks for as long as the run lasts
    connection.send("hello", pid=os.getpid())
    return own


def _confine(setup: Setup) -> tuple[int, int]:
    """Take every layer asked for: the Landlock version in force and the supervisor's file. Raises LayerError."""
    limits.apply(address_space=setup.address_space, file_size=setup.scratch)
    if sys.platform != "linux":
        return 0, -1
    keep_capabilities(0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    version = 0
    if "landlock" in setup.use:
        version = landlock.detect_version()
        if not version:
            raise LayerError("landlock", "the kernel does not offer it")
        landlock.narrow(version, setup.readable, [NULL], setup.home)
    if "seccomp" in setup.use:
        return version, seccomp.install(metadata="namespaces" in setup.use)
    return version, -1
