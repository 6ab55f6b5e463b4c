"""The host's handle of one running sandbox: its pid 1, its scratch folders and its live processes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from codetool.execution.channel import Channel, ClosedError
from codetool.execution.fork_supervisor import ForkSupervisor
from codetool.execution.inside.scratch import BRANCHES_FOLDER
from codetool.execution.interruption import ForkRefusedError, SandboxEndedError
from codetool.execution.managed_process import ManagedProcess
from codetool.execution.pausable_timer import PausableTimer

Result = TypeVar("Result")


@dataclass(eq=False)
class SandboxHandle:
    """State of a sandbox as a whole.

    `init_pid` is the host's process id of the sandbox's pid 1. `own_mounts`: each branch has a mount namespace of its
    own, in which only its own scratch folder is mounted; else scratch folders lie next to and inside each other.
    """

    root_process: subprocess.Popen[bytes]
    control: Channel
    init_pid: int
    max_output_characters: int
    in_force: Mapping[str, str]
    supervisor: ForkSupervisor | None
    own_mounts: bool
    on_end: Callable[[ManagedProcess], None] = lambda process: None
    _processes: dict[int, ManagedProcess] = field(default_factory=dict)
    _control_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _requests: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.supervisor:
            self.supervisor.known_processes = self._processes

    def register(self, process: ManagedProcess) -> None:
        """Add a live process."""
        self._processes[process.pid] = process

    def unregister(self, process: ManagedProcess) -> None:
        """Remove a process that was killed."""
        if self._processes.get(process.pid) is process:
            del self._processes[process.pid]
        self.on_end(process)

    def processes(self) -> list[ManagedProcess]:
        """All live processes, including the zygote."""
        return list(self._processes.values())

    def pids(self) -> set[int]:
        """The host's process ids of all known processes of the sandbox."""
        return {self.root_process.pid, self.init_pid, *self._processes}

    def grant_fork(self, pid: int) -> None:
        """Allow a process to fork once."""
        if self.supervisor:
            self.supervisor.grant(pid)

    def revoke_fork(self, pid: int) -> None:
        """Withdraw an unused permission to fork."""
        if self.supervisor:
            self.supervisor.revoke(pid)

    def new_folder(self, parent: str) -> str:
        """A new name for a branch's scratch folder, inside its parent's folder. Other branches cannot guess it."""
        name = secrets.token_hex(16)
        return f"{parent}/{BRANCHES_FOLDER}/{name}" if parent else name

    async def make_folder(self, folder: str) -> None:
        """Make a scratch folder. Raises ForkRefusedError if it cannot be made, SandboxEndedError if pid 1 has ended."""
        await self._run_to_end(self._request("make", folder=folder))

    def remove_folder(self, folder: str) -> None:
        """Request the removal of a scratch folder, without waiting for it."""
        self._run_to_end(self._remove(folder))

    async def mount_scratch(self, namespace: int, old: Literal["none", "drop", "keep"]) -> int:
        """Mount an empty scratch folder in the mount namespace of an open file; returns its device number.

        `old`: there is none, or drop the one of the parent, or keep it at another place until `forget_old_scratch`.
        Raises like `make_folder`.
        """
        return await self._run_to_end(self._request("mount", [namespace], old=old))

    async def forget_old_scratch(self, namespace: int) -> None:
        """Unmount the parent's scratch folder. Raises like `make_folder`."""
        await self._run_to_end(self._request("forget", [namespace]))

    async def _remove(self, folder: str) -> None:
        with contextlib.suppress(ClosedError):
            await self._request("remove", folder=folder)

    async def _request(self, kind: str, descriptors: Sequence[int] = (), **fields: str) -> int:
        """Have pid 1 do something; returns the device number of the file system it made, or 0."""
        async with self._control_lock:
            try:
                await self.control.send({"kind": kind, **fields}, PausableTimer(math.inf), descriptors)
                answer = await self.control.receive(PausableTimer(math.inf))
            except ClosedError as error:
                raise SandboxEndedError("the sandbox's first process has ended") from error
        if answer.get("reason"):
            raise ForkRefusedError(f"no scratch folder: {answer['reason']}")
        return int(answer.get("device") or 0)

    def _run_to_end(self, work: Coroutine[Any, Any, Result]) -> asyncio.Future[Result]:
        """Run an exchange with pid 1 to its end, even if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return asyncio.shield(task)

    async def close(self) -> None:
        """Kill every process of the sandbox and wait until none is left. A second call does nothing.

        Requests to pid 1 that are under way fail with SandboxEndedError; to cancel them would cancel their callers.
        """
        for process in self.processes():
            process.kill("sandbox")
        self.control.close()
        if self._requests:
            await asyncio.wait(list(self._requests))
        if self.supervisor:
            self.supervisor.close()
        await wait_for_end(self.root_process)


async def wait_for_end(first: subprocess.Popen[bytes], seconds: float = 5.0) -> None:
    """Wait until the sandbox's root process ends, which it does last; kill it after `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while first.poll() is None:
        if loop.time() > end:
            first.kill()
        await asyncio.sleep(0.002)
