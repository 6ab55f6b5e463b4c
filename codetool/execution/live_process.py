"""The host's side of one live sandboxed process: its state and its messages, and how it is killed.

`step_execution` runs a step in it, `forking` forks it, and `process_end` finds out how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from codetool.execution.channel import Channel
from codetool.execution.interruption import Interruption
from codetool.execution.kept_calls import StoredCall
from codetool.execution.managed_process import Suspension
from codetool.execution.pausable_timer import PausableTimer
from codetool.execution.protocol import Message, ProtocolError
from codetool.execution.sandbox_handle import SandboxHandle


@dataclass(frozen=True)
class ExecutedStep:
    """One executed step and its tools' answers, which suffice to run it again without calling the tools."""

    code: str
    name: str
    """File name of its code in tracebacks: `<step 2>`, `<preamble>`."""
    calls: tuple[StoredCall, ...]


@dataclass(eq=False)
class LiveProcess:
    """A process that runs steps. `history` holds the executed steps, `layers` is the number of Landlock layers."""

    handle: SandboxHandle
    channel: Channel
    pid: int
    pidfd: int
    folder: str = ""
    parent: LiveProcess | None = None
    layers: int = 1
    history: tuple[ExecutedStep, ...] = ()
    alive: bool = True
    has_branched: bool = False
    """Whether a branch's folder lies in this process's folder; it must then not run another step."""
    active_operations: int = 0
    """Number of operations that need it now; only a process without any may be evicted."""
    folder_users: int = 1
    """Number of processes that need its folder: itself and its live branches."""
    shares_folder: bool = False
    """Whether it uses the folder of the process that it replaced."""
    scratch_device: int = 0
    """Device number of its scratch folder where that is a mount of its own."""
    total_operations: int = 0
    """Number of operations it was ever used for."""
    protected: bool = False
    """Whether it may not be killed to free memory, because its step is run again after it was once."""
    suspension: Suspension | None = None
    """How long its running step was suspended so far, None if it runs none."""
    has_replaced_functions: bool = False
    """Whether its code replaced functions that run steps, by its own report after its last step."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: int = 0
    """Token of the last command, which its answers must carry."""
    interruption: Interruption | None = None
    """Why it was killed, if neither its step nor the caller of its step wanted it."""

    @property
    def is_zygote(self) -> bool:
        """Whether it is the process from which all root interpreters are forked, which runs no generated code."""
        return self.parent is None

    def kill(self, reason: Interruption | None = None) -> None:
        """Kill the process. Its folder is removed with the last process that needs it. A second call does nothing.

        `reason` says that neither its step nor the caller of its step wanted it.
        """
        if not self.alive:
            return
        self.alive, self.interruption = False, reason
        send_signal(self.pidfd, self.pid, signal.SIGKILL)
        if self.pidfd >= 0:
            os.close(self.pidfd)
        self.channel.close()
        self.handle.unregister(self)
        self._release_folder()

    def resume(self) -> None:
        """Let the process go on if it is suspended."""
        if self.alive:
            send_signal(self.pidfd, self.pid, getattr(signal, "SIGCONT", 0))

    def _release_folder(self) -> None:
        self.folder_users -= 1
        if self.folder_users == 0:
            if self.folder and not self.shares_folder:
                self.handle.remove_folder(self.folder)
            if self.parent:
                self.parent._release_folder()

    async def send(
        self, kind: str, timer: PausableTimer, files: Sequence[int] = (), *, keep: bool = False, **fields: object
    ) -> None:
        """Send a command with a new token, or with the running step's token if `keep`.

        Raises ProtocolError if it sent anything before.
        """
        if not self.channel.is_idle():
            raise ProtocolError("it spoke before it was asked, or closed its line")
        if not keep:
            self.token = secrets.randbits(52)
        await self.channel.send({"kind": kind, "token": self.token, **fields}, timer, files)

    async def receive(self, timer: PausableTimer, *kinds: str) -> Message:
        """Its next message. Raises ProtocolError if it is of another kind or no answer to the last command."""
        message = await self.channel.receive(timer)
        if message["kind"] not in kinds or message.get("token") != self.token:
            raise ProtocolError(f"unexpected answer {message['kind'][:40]!r}")
        return message


def send_signal(pidfd: int, pid: int, number: signal.Signals | int) -> None:
    """Send a signal to a process by its pidfd, else by its pid; nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, number)
        elif pid > 0:
            os.kill(pid, number)
