"""What the process pool and the sandbox handle need of a live process: its state, its counters and `kill`.

A Protocol of its own, so that neither has to import `live_process`, which uses both.
"""

from __future__ import annotations

from typing import Protocol


class ManagedProcess(Protocol):
    """A process that may be counted, evicted and killed."""

    pid: int
    """The host's process id."""
    alive: bool
    """False once it was killed or has died."""
    active_operations: int
    """Number of operations that need it now; only a process without any may be evicted."""
    total_operations: int
    """Number of operations it was ever used for."""

    def kill(self) -> None:
        """End the process at once. A second call does nothing."""
        ...
