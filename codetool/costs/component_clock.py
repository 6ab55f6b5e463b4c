"""Measure how long each component of a task, or of a run, is at work."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from codetool.ledger import ComponentSeconds


class ComponentClock:
    """Wall and busy seconds by component. The clock of a task also adds to the clock of its run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, run: ComponentClock | None = None) -> None:
        """All at zero. `clock` counts seconds; `run` measures the same calls together with those of other tasks."""
        self._clock, self._run = clock, run
        self._under_way: Counter[str] = Counter()
        self._since: dict[str, float] = {}
        self._wall: defaultdict[str, float] = defaultdict(float)
        self._busy: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, component: str, *, is_busy: bool = True) -> Iterator[None]:
        """Count the time in the context as a call of the component; `is_busy=False` leaves busy seconds out."""
        started = self._clock()
        self._begin(component, started)
        try:
            yield
        finally:
            now = self._clock()
            self._end(component, now)
            if is_busy:
                self.add_busy(component, now - started)

    def add_busy(self, component: str, seconds: float) -> None:
        """Add busy seconds that the component itself has measured."""
        self._busy[component] += seconds
        if self._run is not None:
            self._run.add_busy(component, seconds)

    def read(self) -> dict[str, ComponentSeconds]:
        """Return the seconds of each component so far, also of calls under way."""
        now = self._clock()
        wall = {name: self._wall[name] + (now - self._since[name] if self._under_way[name] else 0.0)
                for name in {*self._wall, *self._since}}  # fmt: skip
        return {name: ComponentSeconds(wall.get(name, 0.0), self._busy[name]) for name in sorted({*wall, *self._busy})}

    def _begin(self, component: str, now: float) -> None:
        if not self._under_way[component]:
            self._since[component] = now
        self._under_way[component] += 1
        if self._run is not None:
            self._run._begin(component, now)

    def _end(self, component: str, now: float) -> None:
        self._under_way[component] -= 1
        if not self._under_way[component]:
            self._wall[component] += now - self._since[component]
        if self._run is not None:
            self._run._end(component, now)
