"""A sandboxed process: forks itself and runs steps on the host's request.

The first one, the zygote, runs no generated code; every root interpreter is a fork of it, every branch a fork of its
parent. Generated code could manipulate this module in its own process, which only harms that process and its branches.
Siblings and the host are protected by the kernel: the system-call filter, the namespaces, the limits and the Landlock
layers of its ancestors cannot be removed.
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
"""Stack size of each thread in bytes; it counts towards a branch's memory."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The requested setup. `use` names the layers, `home` is the parent of all scratch folders, sizes are bytes."""

    use: tuple[str, ...]
    home: str
    readable: tuple[str, ...]
    address_space: int
    scratch: int
    output: int
    cpu_seconds: int


class HostConnection:
    """This process's socket to the host. A lock serializes the tool calls of a step's threads.

    The lock is held from the end of a step to the begin of the next, so that leftover threads cannot call tools.
    """

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.token: object = None
        self._lock = threading.Lock()

    def switch_socket(self, socket_: socket.socket) -> None:
        """Switch to another socket, after this process was forked from the one that used the old socket."""
        self.socket.close()
        self.socket, self._lock = socket_, threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        send(self.socket, {"kind": kind, "token": self.token, **fields})

    def call_tool(self, method: str, url: str, body: str | None, headers: transport.Headers) -> tuple[int, str]:
        """Send a tool request to the host; returns the HTTP status and body of its answer."""
        with self._lock, _block_alarms():
            self.send("call", method=method, url=url, body=body, headers=headers)
            answer, _ = receive(self.socket)
        return int(answer["status"]), get_text(answer, "body")

    def begin_step(self) -> None:
        """Allow tool calls, at the begin of a step."""
        if self._lock.locked():
            self._lock.release()

    def end_step(self, outcome: StepOutcome) -> None:
        """Report the outcome of a step, after any tool call in progress; further calls wait for the next step."""
        self._lock.acquire()
        self.send("done", observation=outcome.observation, error=outcome.error, stderr=outcome.stderr)

    def send_partial_output(self, printed: Callable[[], str], warned: Callable[[], str]) -> None:
        """Send the output so far, unless a tool call is in progress."""
        if self._lock.acquire(blocking=False):
            self.send("output", text=printed(), stderr=warned())


@contextlib.contextmanager
def _block_alarms() -> Iterator[None]:
    """Delay the code's own alarm signals: one between a request and its answer would mix up later answers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(socket_: socket.socket, setup: Setup) -> None:
    """Confine this process permanently, then serve the host until it closes the socket."""
    version, listener = _confine(setup)
    connection, steps = HostConnection(socket_), StepRunner(setup.output)
    transport.install(connection.call_tool)
    event_loop.install()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # branches that end leave no zombies
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: connection.send_partial_output(steps.read_stdout, steps.read_stderr))
    threading.stack_size(THREAD_STACK_BYTES)
    random.seed(0)
    gc.collect()
    gc.freeze()
    send(socket_, {"kind": "hello", "landlock": version}, [listener] if listener >= 0 else [])
    if listener >= 0:
        os.close(listener)  # or sandboxed code could allow its own forks
    try:
        serve(connection, steps, setup, version)
    except (EOFError, OSError):
        pass  # the host closed the socket, so this process ends


def serve(connection: HostConnection, steps: StepRunner, setup: Setup, version: int) -> None:
    """Execute the host's commands. Raises EOFError when the host closes the socket."""
    folder: str | None = None
    while True:
        message, descriptors = receive(connection.socket)
        connection.token = message.get("token")
        if message["kind"] == "run":
            connection.begin_step()
            connection.end_step(steps.run(get_text(message, "code"), get_text(message, "name")))
        elif message["kind"] == "branch":
            if _branch(connection, descriptors[0]):
                command, _ = receive(connection.socket)
                folder = _enter_folder(connection, folder, get_text(command, "folder"), setup, version)


def _branch(connection: HostConnection, descriptor: int) -> bool:
    """Fork this process; True in the child."""
    numbers = random.getstate()  # a fork reseeds the generator, which would make runs differ
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
    """Move into the folder `name` (stay if empty), restrict file access to it, and report to the host."""
    own = f"{setup.home}/{name}" if name else old or setup.home
    if name:
        scratch.move_into_folder(old, own, connection.socket.fileno(), limits.MAX_OPEN_FILES)
        if version:
            landlock.narrow(version, setup.readable, [NULL], own)
    if old is None:
        limits.apply(cpu_seconds=setup.cpu_seconds)  # not for the zygote, which forks during the whole run
    connection.send("hello", pid=os.getpid())
    return own


def _confine(setup: Setup) -> tuple[int, int]:
    """Apply the requested layers; returns the Landlock version and the notification descriptor. Raises LayerError."""
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
