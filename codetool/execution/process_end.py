"""How a live process ends: what ended it, and whether its threads do."""

from __future__ import annotations

import asyncio

from codetool.execution.fork_supervisor import count_threads
from codetool.execution.interruption import InterruptedStepError
from codetool.execution.live_process import LiveProcess
from codetool.execution.process_status import EndCause, find_end_cause, is_ending
from codetool.execution.process_timer import ProcessTimer

END_SECONDS = 5.0
"""Wall time that a process which is ending may take until the kernel reports how it ended."""
THREAD_END_SECONDS = 0.01
"""Own time that ending threads have to disappear."""


async def raise_if_interrupted(process: LiveProcess) -> None:
    """Raise InterruptedStepError if something other than its code ended the process or its socket."""
    if process.alive and (cause := await _find_end_cause(process)) in ("outside", "unknown"):
        process.kill(cause)
    if process.interruption is not None:
        raise InterruptedStepError(process.interruption, f"a step's process was ended ({process.interruption})")


async def _find_end_cause(process: LiveProcess) -> EndCause:
    """How the process ended. Waits for one that is ending: its socket is closed before the kernel reports."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + END_SECONDS
    while True:
        cause = find_end_cause(process.pid, process.pidfd, may_signal=process.handle.supervisor is None)
        if cause != "running" or not is_ending(process.pid) or loop.time() > deadline:
            return cause
        await asyncio.sleep(0.001)


async def has_threads(process: LiveProcess) -> bool:
    """Whether threads of the last step still exist after THREAD_END_SECONDS, by the kernel's count."""
    if count_threads(process.pid) <= 1:
        return False
    timer = ProcessTimer(THREAD_END_SECONDS, process.pid)
    while count_threads(process.pid) > 1:
        if timer.is_over():
            return True
        await asyncio.sleep(0.001)
    return False
