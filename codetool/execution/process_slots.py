"""Pool that limits the number of live processes and evicts the least recently used one when it is full."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from codetool.execution.managed_process import ManagedProcess


class ProcessPool:
    """A fixed number of slots for live processes. If none is free, the least recently used idle process is evicted.

    A caller that holds a process (`hold`) must not wait for a slot at the same time; this prevents deadlocks.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the number of slots, at least 1."""
        self.limit = limit
        self.evicted = 0
        self._taken = 0
        self._processes: OrderedDict[ManagedProcess, None] = OrderedDict()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def live(self) -> int:
        """Number of processes in the pool."""
        return len(self._processes)

    def processes(self) -> list[ManagedProcess]:
        """All processes in the pool, the least recently used first."""
        return list(self._processes)

    def evict_one(self) -> bool:
        """Kill the least recently used idle process; whether there was one."""
        coldest = next((process for process in self._processes if not process.active_operations), None)
        if coldest is not None:
            self.evicted += 1
            coldest.kill()
        return coldest is not None

    def take_now(self, spare: ManagedProcess | None = None) -> bool:
        """Take a slot if one is free or an idle process other than `spare` can be evicted; whether it was taken."""
        if self._taken >= self.limit:
            coldest = next(
                (process for process in self._processes if not process.active_operations and process is not spare), None
            )
            if coldest is None:
                return False
            self.evicted += 1
            coldest.kill()
        self._taken += 1
        return True

    async def take(self) -> None:
        """Take a slot, waiting until there is one."""
        while not self.take_now():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # this waiter was woken; wake the next one instead
                raise

    def fill(self, process: ManagedProcess) -> None:
        """Put a process into a slot that was taken."""
        self._processes[process] = None

    def replace(self, old: ManagedProcess, new: ManagedProcess) -> None:
        """Put `new` into the slot of `old`."""
        if old in self._processes:
            del self._processes[old]
        else:
            self._taken += 1  # `old` ended meanwhile and its slot was freed
        self._processes[new] = None

    def release(self) -> None:
        """Free a slot that was taken but not filled."""
        self._taken -= 1
        self._wake()

    def remove(self, process: ManagedProcess) -> None:
        """Free the slot of a process that ended, if it had one."""
        if process in self._processes:
            del self._processes[process]
            self.release()

    @contextmanager
    def hold(self, process: ManagedProcess) -> Iterator[None]:
        """Protect a process from eviction; afterwards it is the most recently used."""
        process.active_operations += 1
        process.total_operations += 1
        try:
            yield
        finally:
            process.active_operations -= 1
            if process in self._processes:
                self._processes.move_to_end(process)
                if not process.active_operations:
                    self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
