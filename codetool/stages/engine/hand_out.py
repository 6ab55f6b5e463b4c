"""Hand tasks out to workers that may be lost: which task is where, as which attempt, and which are left.

Each hand-out of a task is an attempt with a number of its own. Only the current attempt of a task counts, so an answer
that still arrives from a lost worker is recognized and dropped. The tasks of a lost worker are handed out again first.
It is unknown which of them ended the worker: a task that was lost `SHARED_LOSSES` times is handed out alone, to a
worker without another task, and given up if it is lost once more.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from codetool.types import Task

SHARED_LOSSES = 2
"""Losses after which a task is searched alone; the next one, which nothing else can have caused, is its failure."""


@dataclass(frozen=True)
class Attempt:
    """One hand-out of a task."""

    number: int
    """Unique within the command, from 1."""
    task: Task
    is_alone: bool
    """Whether the worker gets no other task meanwhile."""


class HandOut:
    """The tasks of a run, and the workers that search them."""

    def __init__(self, tasks: Iterable[Task], per_worker: int) -> None:
        """Take the tasks in the order in which they begin; a worker has up to `per_worker` at the same time."""
        self._waiting = deque(tasks)
        self._per_worker = per_worker
        self._suspects: deque[Task] = deque()
        self._held: defaultdict[Hashable, dict[int, Attempt]] = defaultdict(dict)
        self._losses: Counter[str] = Counter()
        self._number = 0

    @property
    def unfinished(self) -> int:
        """Number of tasks that wait or are being searched."""
        return len(self._waiting) + len(self._suspects) + self.under_way

    @property
    def under_way(self) -> int:
        """Number of tasks that are being searched."""
        return sum(map(len, self._held.values()))

    def drop_waiting(self) -> None:
        """Hand out nothing more; what is under way goes on."""
        self._waiting.clear()
        self._suspects.clear()

    def take(self, worker: Hashable, workers: int) -> Attempt | None:
        """Hand a task to a worker; None if there is none for it now.

        `workers` is the number of workers among which the unfinished tasks are shared evenly.
        """
        held = self._held[worker]
        if len(held) == 1 and next(iter(held.values())).is_alone:
            return None
        if self._suspects and not held:
            return self._begin(self._suspects.popleft(), worker, is_alone=True)
        share = -(-self.unfinished // max(workers, 1))
        if not self._waiting or len(held) >= min(self._per_worker, share):
            return None
        return self._begin(self._waiting.popleft(), worker, is_alone=False)

    def get(self, worker: Hashable, number: int) -> Attempt | None:
        """Return an attempt that is under way on this worker; None if it was given up, or is another worker's."""
        return self._held[worker].get(number)

    def finish(self, worker: Hashable, number: int) -> Attempt | None:
        """End an attempt and return it; None, as `get`, for one that does not count."""
        return self._held[worker].pop(number, None)

    def lose(self, worker: Hashable) -> list[Task]:
        """Take back what a lost worker had; return the tasks that are given up, since they ended a worker alone."""
        given_up = []
        for attempt in reversed(self._held.pop(worker, {}).values()):
            self._losses[attempt.task.id] += 1
            if attempt.is_alone:
                given_up.append(attempt.task)
            elif self._losses[attempt.task.id] >= SHARED_LOSSES:
                self._suspects.append(attempt.task)
            else:
                self._waiting.appendleft(attempt.task)
        return given_up

    def _begin(self, task: Task, worker: Hashable, *, is_alone: bool) -> Attempt:
        self._number += 1
        attempt = self._held[worker][self._number] = Attempt(self._number, task, is_alone)
        return attempt
