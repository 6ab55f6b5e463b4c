"""A table in shared memory: how much running steps may allocate, told by the host; which were suspended, told to it.

The host writes it and the sandbox's root process reads it (`growth_watch.py`), so that a step begins and ends
without a message. Each number has 8 bytes and is written at once. No sandboxed process has the table.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass

_BUDGET, _MEASUREMENTS, _ANSWERS, _USED_ROWS = range(4)
_HEADER, _ROW = 4, 3
_PID, _BASE, _SUSPENDED = range(3)
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Row:
    """A running step: its process's id, its bytes at the last measurement, and the time since when it is suspended.

    The time is in nanoseconds of the monotonic clock, 0 if it is not suspended.
    """

    number: int
    pid: int
    base: int
    suspended: int


class GrowthTable:
    """A mapping of the table, of which the host and the sandbox's root process have one each."""

    def __init__(self, descriptor: int) -> None:
        """Map the open file `descriptor`, which has the size of `compute_size`."""
        self._numbers = memoryview(mmap.mmap(descriptor, os.fstat(descriptor).st_size)).cast("q")
        self.rows = (len(self._numbers) - _HEADER) // _ROW

    @staticmethod
    def compute_size(rows: int) -> int:
        """Bytes of a table for `rows` running steps."""
        return _NUMBER_BYTES * (_HEADER + _ROW * rows)

    @property
    def budget(self) -> int:
        """Bytes that all running steps together may allocate beyond their bases."""
        return self._numbers[_BUDGET]

    @property
    def measurements(self) -> int:
        """Number of times that the host wrote a new budget and new bases."""
        return self._numbers[_MEASUREMENTS]

    @property
    def answers(self) -> int:
        """Number of times that the host resumed the steps that were suspended."""
        return self._numbers[_ANSWERS]

    def list_steps(self) -> list[Row]:
        """The running steps."""
        end = _HEADER + _ROW * self._numbers[_USED_ROWS]
        numbers = self._numbers[_HEADER:end].tolist()
        rows = enumerate(zip(numbers[_PID::_ROW], numbers[_BASE::_ROW], numbers[_SUSPENDED::_ROW], strict=True))
        return [Row(number, *values) for number, values in rows if values[_PID]]

    def begin(self, row: int, pid: int, base: int) -> None:
        """Add a step in an unused row."""
        start = _HEADER + _ROW * row
        self._numbers[start + _BASE], self._numbers[start + _SUSPENDED] = base, 0
        self._numbers[start + _PID] = pid
        self._numbers[_USED_ROWS] = max(row + 1, self._numbers[_USED_ROWS])

    def end(self, row: int) -> None:
        """Remove the step of a row."""
        self._numbers[_HEADER + _ROW * row + _PID] = 0

    def set_base(self, row: int, base: int) -> None:
        """Set the bytes of a step's process at the last measurement."""
        self._numbers[_HEADER + _ROW * row + _BASE] = base

    def set_budget(self, budget: int) -> None:
        """Set the budget, after the bases to which it belongs."""
        self._numbers[_BUDGET] = budget
        self._numbers[_MEASUREMENTS] += 1

    def read_suspended(self, row: int) -> int:
        """Since when a step is suspended, in nanoseconds of the monotonic clock; 0 if it is not."""
        return self._numbers[_HEADER + _ROW * row + _SUSPENDED]

    def set_suspended(self, row: int, nanoseconds: int) -> None:
        """Set since when a step is suspended; 0 if it is not any more."""
        self._numbers[_HEADER + _ROW * row + _SUSPENDED] = nanoseconds

    def count_answer(self) -> None:
        """Say that the steps that were suspended are resumed."""
        self._numbers[_ANSWERS] += 1
