"""A sandboxed process: forks itself and runs steps on the host's request.

The first one, the zygote, runs no generated code; every root interpreter is a fork of it, every branch a fork of its
parent. Generated code can manipulate this module in its own process; what that can forge, and what not, is written in
`sealed.py`. Siblings and the host are protected by the kernel: the system-call filter, the namespaces, the limits and
the Landlock layers of its ancestors cannot be removed. What a new branch must do itself, such as moving into a mount
namespace of its own and closing its parent's files, is checked by the host before the branch runs a step.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from codetool.execution.inside import event_loop, landlock, limits, mounts, scratch, seccomp, transport
from codetool.execution.inside.kernel import (
    CAP_SYS_ADMIN,
    CLONE_NEWNS,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    LayerError,
    keep_capabilities,
    prctl,
    unshare,
)
from codetool.execution.inside.run_step import StepRunner
from codetool.execution.inside.sealed import bind_find_replaced, bind_receive, bind_report
from codetool.execution.protocol import Message, get_text, receive, send

THREAD_STACK_BYTES = 2**20
"""Stack size of each thread in bytes; it counts towards a branch's memory."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The requested setup. `use` names the layers, sizes are bytes.

    `home` is the scratch folder, or the parent of all scratch folders. Code may read `folders`, more exactly the files
    below `readable` and the names below `listable`.
    """

    use: tuple[str, ...]
    home: str
    folders: tuple[str, ...]
    readable: tuple[str, ...]
    listable: tuple[str, ...]
    address_space: int
    scratch: int
    output: int
    cpu_seconds: int

    @property
    def own_mounts(self) -> bool:
        """Whether each branch has its own mount namespace; the filter must forbid it every other use of the right."""
        return "namespaces" in self.use and "seccomp" in self.use


class HostConnection:
    """This process's socket to the host. A lock serializes the tool calls of a step's threads.

    The lock is held from the end of a step to the begin of the next, so that leftover threads cannot call tools.
    """

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.token: object = None
        self.lock = threading.Lock()

    def switch_socket(self, socket_: socket.socket) -> None:
        """Switch to another socket, after this process was forked from the one that used the old socket."""
        self.socket.close()
        self.socket, self.lock = socket_, threading.Lock()

    def send(self, kind: str, **fields: Any) -> None:
        send(self.socket, {"kind": kind, "token": self.token, **fields})

    def call_tool(self, method: str, url: str, body: str | None, headers: transport.Headers) -> tuple[int, str]:
        """Send a tool request to the host; returns the HTTP status and body of its answer."""
        with self.lock, _block_alarms():
            self.send("call", method=method, url=url, body=body, headers=headers)
            answer, _ = receive(self.socket)
        return int(answer["status"]), get_text(answer, "body")

    def send_partial_output(self, printed: Callable[[], str], warned: Callable[[], str]) -> None:
        """Send the output so far, unless a tool call is in progress."""
        if self.lock.acquire(blocking=False):
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
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # branches that end leave no zombies, and do not tell their status
    version = _confine(setup, socket_)
    connection, steps = HostConnection(socket_), StepRunner(setup.output)
    transport.install(connection.call_tool)
    event_loop.install()
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: connection.send_partial_output(steps.read_stdout, steps.read_stderr))
    threading.stack_size(THREAD_STACK_BYTES)
    random.seed(0)
    gc.collect()
    gc.freeze()
    connection.send("hello", landlock=version, pid=os.getpid())
    try:
        serve(connection, steps, setup, version)
    except (EOFError, OSError):
        pass  # the host closed the socket, so this process ends


def serve(connection: HostConnection, steps: StepRunner, setup: Setup, version: int) -> None:
    """Execute the host's commands. Raises EOFError when the host closes the socket.

    What decides a verdict is held in local variables (see `sealed.py`).
    """
    folder: str | None = None
    working = ""
    names = (__name__, StepRunner.__module__, bind_report.__module__, send.__module__)
    modules = [sys.modules[name] for name in names]
    find_replaced = bind_find_replaced([*modules, HostConnection, StepRunner, json.JSONEncoder, json.JSONDecoder])
    receive_command, run_step, report = bind_receive(), steps.bind_run(), bind_report(find_replaced)
    socket_, descriptor, lock = connection.socket, connection.socket.fileno(), connection.lock
    while True:
        message, descriptors = receive_command(socket_)
        if working:
            scratch.work_in(working, setup.home)
            working = ""
        connection.token = message.get("token")
        if message["kind"] == "run":
            if lock.locked():
                lock.release()  # this allows tool calls
            verdict = run_step(message["code"], message["name"])
            lock.acquire()  # after a tool call in progress; further calls wait for the next step
            report(descriptor, message["token"], verdict)
        elif message["kind"] == "branch" and _branch(connection, descriptors[0]):
            try:
                folder, working = _settle(connection, folder, setup, version, stay=bool(message["stay"]))
            except OSError as error:
                connection.send("failed", reason=str(error))
                raise
            socket_, descriptor, lock = connection.socket, connection.socket.fileno(), connection.lock


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


def _settle(connection: HostConnection, old: str | None, setup: Setup, version: int, *, stay: bool) -> tuple[str, str]:
    """Make this new process a branch with its own session and scratch folder.

    `old` is the parent's folder, None for the first branch; `stay`: the process replaces its parent, in its folder.
    Returns the branch's folder, and the working folder that it has to enter when it gets its next command.
    """
    if hasattr(os, "setsid"):
        os.setsid()  # the scheduler shares the CPU evenly between sessions (autogroup)
    if old is None:
        limits.apply(cpu_seconds=setup.cpu_seconds)  # not for the zygote, which forks during the whole run
    if stay:
        connection.send("forked", pid=os.getpid())
        return old or setup.home, ""
    if setup.own_mounts:
        return mounts.SCRATCH, _move_to_own_mounts(connection, old)
    connection.send("forked", pid=os.getpid())
    command = _receive_command(connection)
    own = f"{setup.home}/{get_text(command, 'folder')}"
    if old:
        scratch.enter_copy(own, old, connection.socket.fileno(), limits.MAX_OPEN_FILES)
    else:
        scratch.replace_open_files(connection.socket.fileno(), limits.MAX_OPEN_FILES)
        os.chdir(own)
    scratch.name_folder(own)
    if version:
        landlock.narrow(version, setup.folders, [mounts.NULL], own)
    connection.send("hello")
    return own, ""


def _move_to_own_mounts(connection: HostConnection, old: str | None) -> str:
    """Leave the parent's mounts and files; returns the working folder that is to be entered later, empty if it is.

    While the branch waits for its next command, the host has an empty folder mounted. The parent's is only kept, and
    copied before, if it holds something.
    """
    number = connection.socket.fileno()
    unshare(CLONE_NEWNS)
    if old is None or scratch.is_unused(old, limits.MAX_OPEN_FILES):
        working = scratch.get_working_folder() if old else mounts.SCRATCH
        scratch.replace_open_files(number, limits.MAX_OPEN_FILES)
        if old is None:
            scratch.name_folder(mounts.SCRATCH)
        os.chdir("/")
        connection.send("forked", pid=os.getpid(), empty=True)
        return working or mounts.SCRATCH
    connection.send("forked", pid=os.getpid(), empty=False)
    _receive_command(connection)
    scratch.enter_copy(mounts.SCRATCH, mounts.OLD_SCRATCH, number, limits.MAX_OPEN_FILES)
    connection.send("hello")
    return ""


def _receive_command(connection: HostConnection) -> Message:
    command, _ = receive(connection.socket)
    connection.token = command.get("token")
    return command


def _confine(setup: Setup, socket_: socket.socket) -> int:
    """Apply the requested layers; returns the Landlock version. Raises LayerError.

    The descriptor of the filter's notifications is sent to the host, and kept by nobody here: it allows forks.
    """
    limits.apply(address_space=setup.address_space, file_size=setup.scratch)
    if sys.platform != "linux":
        return 0
    keep_capabilities(1 << CAP_SYS_ADMIN if setup.own_mounts else 0)  # for new mount namespaces, and nothing else
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if "seccomp" in setup.use:
        prctl(PR_SET_DUMPABLE, 1)  # the host may look at the memory and open files of branches, which can trace nothing
    version = 0
    if "landlock" in setup.use:
        version = landlock.detect_version()
        if not version:
            raise LayerError("landlock", "the kernel does not offer it")
        own = mounts.SCRATCH_PARENT if "namespaces" in setup.use else setup.home
        landlock.narrow(version, setup.readable, [mounts.NULL], own, setup.listable)
    if "seccomp" in setup.use:
        listener = seccomp.install_listener()
        send(socket_, {"kind": "listener"}, [listener])
        os.close(listener)
        seccomp.install(own_mounts=setup.own_mounts, metadata="namespaces" in setup.use)
    return version
