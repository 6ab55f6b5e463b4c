"""The host's handle of one running sandbox: its pid 1, its scratch folders and its live processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import subprocess
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from codetool.errors import SandboxError
from codetool.execution.channel import Channel, ClosedError
from codetool.execution.fork_supervisor import ForkSupervisor
from codetool.execution.inside.scratch import BRANCHES_FOLDER
from codetool.execution.managed_process import ManagedProcess
from codetool.execution.pausable_timer import PausableTimer


@dataclass(eq=False)
class SandboxHandle:
    """State of a sandbox as a whole. `init_pid` is the host's process id of the sandbox's pid 1."""

    root_process: subprocess.Popen[bytes]
    control: Channel
    init_pid: int
    max_output_characters: int
    in_force: Mapping[str, str]
    supervisor: ForkSupervisor | None
    on_end: Callable[[ManagedProcess], None] = lambda process: None
    _processes: set[ManagedProcess] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _control_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _requests: set[asyncio.Task[None]] = field(default_factory=set)

    def register(self, process: ManagedProcess) -> None:
        """Add a live process."""
        self._processes.add(process)

    def unregister(self, process: ManagedProcess) -> None:
        """Remove a process that was killed."""
        self._processes.discard(process)
        self.on_end(process)

    def processes(self) -> list[ManagedProcess]:
        """All live processes, including the zygote."""
        return list(self._processes)

    def pids(self) -> set[int]:
        """The host's process ids of all known processes of the sandbox."""
        return {self.root_process.pid, self.init_pid, *(process.pid for process in self._processes)}

    def grant_fork(self, pid: int) -> None:
        """Allow a process to fork once."""
        if self.supervisor:
            self.supervisor.grant(pid)

    def revoke_fork(self, pid: int) -> None:
        """Withdraw an unused permission to fork."""
        if self.supervisor:
            self.supervisor.revoke(pid)

    def new_folder(self, parent: str) -> str:
        """A new name for a branch's scratch folder, inside its parent's folder."""
        number = next(self._numbers)
        return f"{parent}/{BRANCHES_FOLDER}/{number}" if parent else str(number)

    async def make_folder(self, folder: str) -> None:
        """Make a scratch folder. Raises OSError if it cannot be made, SandboxError if pid 1 has ended."""
        await self._run_to_end(self._exchange_make(folder))

    async def _exchange_make(self, folder: str) -> None:
        async with self._control_lock:
            try:
                await self.control.send({"kind": "make", "folder": folder}, PausableTimer(math.inf))
                reason = (await self.control.receive(PausableTimer(math.inf))).get("reason")
            except ClosedError as error:
                raise SandboxError("the sandbox ended; start the run again, it resumes") from error
        if reason:
            raise OSError(f"no scratch folder: {reason}")

    def remove_folder(self, folder: str) -> None:
        """Request the removal of a scratch folder, without waiting for it."""
        self._run_to_end(self._send_remove(folder))

    async def _send_remove(self, folder: str) -> None:
        async with self._control_lock:
            with contextlib.suppress(ClosedError):
                await self.control.send({"kind": "remove", "folder": folder}, PausableTimer(math.inf))

    def _run_to_end(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Run an exchange with pid 1 to its end, even if the caller is cancelled."""
        task = asyncio.ensure_future(work)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        return asyncio.shield(task)

    async def close(self) -> None:
        """Kill every process of the sandbox and wait until none is left."""
        for process in list(self._processes):
            process.kill()
        for request in list(self._requests):
            request.cancel()
        self.control.close()
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
