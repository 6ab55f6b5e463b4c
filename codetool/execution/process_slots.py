"""How many processes may live at once: places, and who must leave for whom."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from codetool.execution.managed_process import ManagedProcess


class ProcessPool:
    """Places for live processes. Where none is free the process that was unused for longest is evicted.

    Nobody who uses a process (`using`) may wait for a place meanwhile; hence every wait ends.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the number of places, at least 1."""
        self.limit = limit
        self.evicted = 0
        self._taken = 0
        self._processes: OrderedDict[ManagedProcess, None] = OrderedDict()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def live(self) -> int:
        """How many processes hold a place."""
        return len(self._processes)

    def take_now(self, spare: ManagedProcess | None = None) -> bool:
        """Take a place if there is one, or if a process other than `spare` can be evicted for it."""
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
        """Take a place, waiting until there is one."""
        while not self.take_now():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # the turn was mine and goes to the next
                raise

    def fill(self, process: ManagedProcess) -> None:
        """A place that was taken now holds this process."""
        self._processes[process] = None

    def replace(self, old: ManagedProcess, new: ManagedProcess) -> None:
        """`new` takes over the place of `old`."""
        if old in self._processes:
            del self._processes[old]
        else:
            self._taken += 1  # it ended meanwhile and gave its place back
        self._processes[new] = None

    def release(self) -> None:
        """Give back a place that was taken and not filled."""
        self._taken -= 1
        self._wake()

    def remove(self, process: ManagedProcess) -> None:
        """A process ended: its place, if it held one, is free."""
        if process in self._processes:
            del self._processes[process]
            self.release()

    @contextmanager
    def hold(self, process: ManagedProcess) -> Iterator[None]:
        """Keep a process from being evicted, and count it as the warmest afterwards."""
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
