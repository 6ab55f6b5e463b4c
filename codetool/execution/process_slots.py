"""How many processes may live at once: places, and who must leave for whom."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codetool.execution.live_process import Process


class Slots:
    """Places for live processes. Where none is free the process that was unused for longest is evicted.

    Nobody who uses a process (`using`) may wait for a place meanwhile; hence every wait ends.
    """

    def __init__(self, limit: int) -> None:
        """`limit` is the number of places, at least 1."""
        self.limit = limit
        self.evicted = 0
        self._taken = 0
        self._living: OrderedDict[Process, None] = OrderedDict()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def live(self) -> int:
        """How many processes hold a place."""
        return len(self._living)

    def take_now(self, spare: Process | None = None) -> bool:
        """Take a place if there is one, or if a process other than `spare` can be evicted for it."""
        if self._taken >= self.limit:
            coldest = next((process for process in self._living if not process.users and process is not spare), None)
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

    def fill(self, process: Process) -> None:
        """A place that was taken now holds this process."""
        self._living[process] = None

    def swap(self, old: Process, new: Process) -> None:
        """`new` takes over the place of `old`."""
        if old in self._living:
            del self._living[old]
        else:
            self._taken += 1  # it ended meanwhile and gave its place back
        self._living[new] = None

    def give(self) -> None:
        """Give back a place that was taken and not filled."""
        self._taken -= 1
        self._wake()

    def ended(self, process: Process) -> None:
        """A process ended: its place, if it held one, is free."""
        if process in self._living:
            del self._living[process]
            self.give()

    @contextmanager
    def using(self, process: Process) -> Iterator[None]:
        """Keep a process from being evicted, and count it as the warmest afterwards."""
        process.users += 1
        process.uses += 1
        try:
            yield
        finally:
            process.users -= 1
            if process in self._living:
                self._living.move_to_end(process)
                if not process.users:
                    self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
