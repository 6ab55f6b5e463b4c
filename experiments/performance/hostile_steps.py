"""Attacks on the memory of the host process by generated code: steps that call tools, send frames or print."""

from __future__ import annotations

import asyncio
from typing import Any

from memory_meter import MIB, Attack, Meter

FILM = "https://api.themoviedb.org/3/movie/155"


async def run_steps(meter: Meter, tasks: int, code: str, **tools: Any) -> None:
    """Run the step in as many tasks as asked for at the same time, with the sandbox and the broker of a run."""
    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate
    from codetool.evaluation.result_records import _encode_execution
    from codetool.runs.journal import encode_record

    overrides = [f"tools.{name}={value}" for name, value in tools.items()]
    [composed] = compose_all(["executor.timeout=60", *overrides])
    config = validate(composed)
    task = config.benchmark.tasks()[0]
    async with config.executor.open() as sandbox, config.tools.open([task]) as broker:
        meter.start()
        statuses: dict[str, int] = {}

        async def run_one() -> int:
            interpreter = await sandbox.start(task, broker.session(task).call)
            execution = await interpreter.run(code)
            statuses[execution.status] = statuses.get(execution.status, 0) + 1
            line = encode_record(_encode_execution(execution))
            executions.append(execution)  # as the search tree keeps it
            interpreters.append(interpreter)
            return len(line)

        executions: list[Any] = []
        interpreters: list[Any] = []
        sizes = await asyncio.gather(*(run_one() for _ in range(tasks)))
        meter.outcome = f"{statuses}, {sum(sizes) / MIB:.0f} MiB of journal"


def attack_by_step(code: str, **tools: Any) -> Attack:
    """Return the attack of a step; `tools` are settings of tools."""
    return lambda meter, tasks: run_steps(meter, tasks, f"import requests\n{code}", **tools)


PREPARED = (
    "from requests.adapters import HTTPAdapter\n"
    f"p, send = requests.Request('GET', {FILM!r}).prepare(), HTTPAdapter().send  # prepared once: it is slow\n"
)
LONG_URLS = f"{PREPARED}p.url = 'https://evil.example/' + 'a' * 220_000\nfor i in range(300): send(p)"
LONG_BODIES = f"{PREPARED}for i in range(200): p.body = 'a' * 60_000 + str(i); send(p)"
MANY_ARGUMENTS = f"{PREPARED}for i in range(200): p.url = {FILM!r} + '?x=' + 'a' * 7_000 + str(i); send(p)"
ENDLESS_CALLS = f"{PREPARED}while True: send(p)"
HALF_FRAMES = (
    "import os, socket\n"
    "for n in range(3, 60):\n"
    "    try:\n"
    "        s = socket.socket(fileno=os.dup(n))\n"
    "        s.settimeout(1)\n"
    "        s.send(b'\\x00\\x05\\x00\\x00' + b'x' * 300_000)\n"
    "    except BaseException: pass\n"
    "import time; time.sleep(3)"
)
LONG_OUTPUT = "for i in range(300): print('x' * 1_000_000)"
