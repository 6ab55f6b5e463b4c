"""Discrete-event simulation: processes that wait for seconds, for a place in a queue, for a model server or each other.

A process is a generator that yields events and goes on when they have happened:

    def visit(simulation, desk):
        yield from desk.use(2.0)        # wait for the desk, and use it for two seconds
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import count

Process = Generator["Event", None, None]


@dataclass(eq=False)
class Event:
    """Something that happens once."""

    has_happened: bool = False
    callbacks: list[Callable[[], None]] = field(default_factory=list)

    def happen(self) -> None:
        """Let every process go on that waits for the event."""
        self.has_happened = True
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()

    def call_back(self, callback: Callable[[], None]) -> None:
        """Call a function when the event happens, or at once if it has."""
        if self.has_happened:
            callback()
        else:
            self.callbacks.append(callback)


class Simulation:
    """Clock and agenda."""

    def __init__(self) -> None:
        self.now = 0.0
        """Simulated seconds since the start."""
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def schedule(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call a function after simulated seconds."""
        heapq.heappush(self._agenda, (self.now + seconds, next(self._numbers), callback))

    def wait(self, seconds: float) -> Event:
        """Return an event that happens after simulated seconds."""
        event = Event()
        self.schedule(seconds, event.happen)
        return event

    def start(self, process: Process) -> Event:
        """Start a process, and return the event of its end."""
        end = Event()

        def go_on() -> None:
            try:
                event = next(process)
            except StopIteration:
                end.happen()
                return
            event.call_back(go_on)

        go_on()
        return end

    def start_all(self, processes: Iterable[Process]) -> Event:
        """Start processes, and return the event of the end of the last one."""
        ends = [self.start(process) for process in processes]

        def wait_for_all() -> Process:
            yield from ends

        return self.start(wait_for_all())

    def run(self) -> None:
        """Run until nothing is left to happen."""
        while self._agenda:
            self.now, _, callback = heapq.heappop(self._agenda)
            callback()


class Queue:
    """Places that are given in the order of arrival: CPU cores, sandboxes, requests to a server."""

    def __init__(self, simulation: Simulation, places: int) -> None:
        self._simulation, self._free = simulation, places
        self._waiting: deque[Event] = deque()

    def acquire(self) -> Event:
        """Return an event that happens when the caller has a place."""
        event = Event()
        if self._free:
            self._free -= 1
            event.happen()
        else:
            self._waiting.append(event)
        return event

    def release(self) -> None:
        """Give a place back."""
        if self._waiting:
            self._waiting.popleft().happen()
        else:
            self._free += 1

    def use(self, seconds: float) -> Process:
        """Wait for a place, and keep it for some seconds."""
        yield self.acquire()
        yield self._simulation.wait(seconds)
        self.release()


class RateLimit:
    """At most so many starts a second, in the order of arrival; None does not limit."""

    def __init__(self, simulation: Simulation, per_second: float | None) -> None:
        self._simulation, self._interval = simulation, 1 / per_second if per_second else 0.0
        self._next = 0.0

    def pass_through(self) -> Event:
        """Return an event that happens when the caller may start."""
        start = max(self._next, self._simulation.now)
        self._next = start + self._interval
        return self._simulation.wait(start - self._simulation.now)


class BatchServer:
    """A model server that computes all running sequences together: each further one slows all of them down a little."""

    def __init__(self, simulation: Simulation, first_token_time: float, batch_token_time: float) -> None:
        """A token takes `first_token_time` + `batch_token_time` × running sequences seconds, for each sequence."""
        self._simulation, self._alone, self._each = simulation, first_token_time, batch_token_time
        self._progress = 0.0
        """Tokens that a sequence would have got that was there from the beginning."""
        self._updated = 0.0
        self._running: list[tuple[float, int, int, Event]] = []
        """Progress at the end, number, sequences and end of each running request."""
        self._sequences = 0
        self._numbers = count()
        self._version = 0

    def generate(self, tokens: float, sequences: int) -> Event:
        """Return the event of the end of a request for sequences of so many tokens each."""
        self._update()
        end = Event()
        heapq.heappush(self._running, (self._progress + tokens, next(self._numbers), sequences, end))
        self._sequences += sequences
        self._plan()
        return end

    def _seconds_per_token(self) -> float:
        return self._alone + self._each * self._sequences

    def _update(self) -> None:
        if self._sequences:
            self._progress += (self._simulation.now - self._updated) / self._seconds_per_token()
        self._updated = self._simulation.now

    def _plan(self) -> None:
        """Schedule the next end of a request, unless another one comes or goes before."""
        self._version += 1
        if self._running:
            version = self._version
            left = max(self._running[0][0] - self._progress, 0.0)
            self._simulation.schedule(left * self._seconds_per_token(), lambda: self._end_first(version))

    def _end_first(self, version: int) -> None:
        if version != self._version:
            return
        self._update()
        finish, _, sequences, end = heapq.heappop(self._running)
        self._progress = max(self._progress, finish)
        self._sequences -= sequences
        self._plan()
        end.happen()
