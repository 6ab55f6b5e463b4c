"""Exceptions for what ends a sandboxed process or prevents a fork although the step did nothing to cause it.

A step whose process was ended by something else gets no verdict: it is run again, and if that does not help, its task
fails internally and the next run tries it again.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Literal

from codetool.errors import SandboxError
from codetool.execution.channel import ClosedError

Interruption = Literal["outside", "memory", "sandbox", "unknown"]
"""What ended a process: a signal from outside the sandbox, such as the kernel's out-of-memory killer; the limit
`executor.total_memory`; the end of the whole sandbox; or something that the kernel does not report."""

INTERRUPTION_TEXTS: dict[Interruption, str] = {
    "outside": "its process was killed from outside, for example by the system for lack of memory",
    "memory": "all interpreters together exceeded executor.total_memory",
    "sandbox": "the sandbox died",
    "unknown": "its process ended, and this system does not report how",
}

EXHAUSTION = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOSPC})
"""Errors by which a system refuses a process, memory or an open file."""


class InterruptedStepError(SandboxError):
    """A step's process was ended by something that is not the step's doing, named by `kind`."""

    def __init__(self, kind: Interruption, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class UnexplainedEndError(Exception):
    """A step's process ended in every attempt, nothing outside was seen to end it, and the kernel does not say how."""


class ForkRefusedError(ClosedError):
    """The system has no room for another process; the process that was to be forked lives on."""


class SlowForkError(ClosedError):
    """A process did not fork within its limit; `seconds` is the wall time that was spent."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class SandboxEndedError(ClosedError):
    """The sandbox's pid 1 has ended, and with it every process of the sandbox."""


def describe_interruptions(kinds: Sequence[Interruption], out_of_memory: bool) -> Exception:
    """The error for a step whose process was ended in each of its attempts."""
    if set(kinds) == {"unknown"} and not out_of_memory:
        return UnexplainedEndError(f"its process ended by itself in each of {len(kinds)} attempts")
    causes = ", ".join(INTERRUPTION_TEXTS[kind] for kind in dict.fromkeys(kinds))
    return SandboxError(f"a step was interrupted {len(kinds)} times, not by its own code ({causes})")
