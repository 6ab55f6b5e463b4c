"""What the process pool, the sandbox handle and the memory limit need of a live process: its state and `kill`.

A Protocol of its own, so that none of them has to import `live_process`, which uses them.
"""

from __future__ import annotations

from typing import Protocol

from codetool.execution.interruption import Interruption


class Suspension(Protocol):
    """Tells how long a running step was suspended because it had to wait for memory."""

    def measure_seconds(self) -> float:
        """Seconds for which it was suspended so far."""
        ...


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
    scratch_device: int
    """Device number of its scratch folder where that is a mount of its own, else 0."""
    protected: bool
    """Whether it may not be killed to free memory, because its step is run again after it was once."""

    suspension: Suspension | None
    """How long its running step was suspended so far, None if it runs none."""

    @property
    def parent(self) -> ManagedProcess | None:
        """The process that it was forked from, None for the zygote."""
        ...

    def resume(self) -> None:
        """Let it go on if it is suspended."""
        ...

    def kill(self, reason: Interruption | None = None) -> None:
        """End the process at once. A second call does nothing.

        `reason` says that neither its step nor the caller of its step wanted it.
        """
        ...
