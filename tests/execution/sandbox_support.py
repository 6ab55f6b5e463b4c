"""What the sandbox's tests share: settings, a counting tool, and code that shows a breach."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from codetool.execution.sandbox import SandboxConfig
from codetool.types import HttpRequest, Task, ToolAnswer, ToolCall

TASK = Task("t", "query", ())
BREACH = "BREACH"


def settings(**changes: Any) -> SandboxConfig:
    """The sandbox under test; CODETOOL_TEST_ISOLATION chooses the isolation."""
    isolation = os.environ.get("CODETOOL_TEST_ISOLATION", "required")
    values = {
        "isolation": isolation,
        "timeout": 5.0,
        "memory_mib": 128,
        "max_output_chars": 2000,
        "scratch_mib": 4,
        "max_live_processes": 64,
        "total_memory": 4096,
    }
    return SandboxConfig(**(values | changes))


def list_warnings(records: Iterable[logging.LogRecord]) -> list[str]:
    """The warnings of a test, but for those that a layer is missing."""
    return [
        record.getMessage()
        for record in records
        if record.levelno >= logging.WARNING and record.name != "codetool.execution.launch"
    ]


class Tool:
    """Answers every request with how often it was asked, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[HttpRequest] = []

    async def __call__(self, request: HttpRequest) -> ToolAnswer:
        self.asked.append(request)
        status = 404 if "missing" in request.url else 200
        body = f'{{"n": {len(self.asked)}}}'
        return ToolAnswer(ToolCall(request.method, request.url, {}), status, body, "replica")
