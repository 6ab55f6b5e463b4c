"""What all interpreters of one sandbox share: the process pool, the zygote, the time limit and a counter."""

from __future__ import annotations

from dataclasses import dataclass

from codetool.errors import SandboxError
from codetool.execution.live_process import LiveProcess
from codetool.execution.process_slots import ProcessPool
from codetool.interfaces import CallTool
from codetool.types import Execution


@dataclass
class InterpreterResources:
    """Shared resources of a sandbox's interpreters. `timeout` is the limit of one step in seconds."""

    pool: ProcessPool
    zygote: LiveProcess
    timeout: float
    replayed_steps: int = 0
    """Number of steps run again to rebuild evicted interpreters."""

    def require_zygote(self) -> LiveProcess:
        """The process from which every root interpreter is forked. Raises SandboxError if it is dead."""
        if not self.zygote.alive:
            raise SandboxError("the sandbox's root process died; start the run again, it resumes")
        return self.zygote

    async def run_step(self, process: LiveProcess, code: str, name: str, call_tool: CallTool) -> Execution:
        """Run `code` in a process that the caller holds in the pool, so that it is not evicted meanwhile."""
        async with process.lock:
            return await process.run(code, name, call_tool, self.timeout)
