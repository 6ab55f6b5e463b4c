"""A step's limit counts its own time: CPU of all its threads, and sleep; not waiting for a core or for tools."""

import asyncio
import time

import pytest
from sandbox_support import TASK, Tool, settings

from codetool.execution.process_timer import OverloadedError, ProcessTimer
from codetool.types import HttpRequest, ToolAnswer

COMPUTE = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\nprint('done')"
HOG = """import hashlib, threading
data = bytes(2**20)
def burn():
    while True: hashlib.sha256(data).digest()
threads = [threading.Thread(target=burn, daemon=True) for _ in range(31)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


async def check_honest_steps(hogs: int, honest: int, seconds: float, limit: float) -> None:
    """Run hogs of 31 hashing threads and honest steps at once: every hog ends, no honest step fails."""
    async with settings(timeout=limit).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branches = [await root.branch() for _ in range(hogs + honest)]
        burning = [asyncio.ensure_future(branch.run(HOG)) for branch in branches[:hogs]]
        await asyncio.sleep(0.3)
        computing = [branch.run(COMPUTE.format(seconds=seconds)) for branch in branches[hogs:]]
        for execution in await asyncio.gather(*computing):
            assert (execution.status, execution.observation) == ("ok", "done\n"), execution
            assert seconds <= execution.seconds < limit
        for execution in await asyncio.gather(*burning):
            assert execution.status == "timeout", execution
            assert limit <= execution.seconds < limit + 2


async def test_honest_steps_end_beside_hogs() -> None:
    await check_honest_steps(hogs=2, honest=2, seconds=0.2, limit=0.4)


@pytest.mark.slow
async def test_honest_steps_end_beside_twenty_hogs_of_31_threads_each() -> None:
    await check_honest_steps(hogs=20, honest=5, seconds=1.0, limit=2.0)


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.sleep(60)",
        "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
        "import threading\nthreading.Event().wait()",
        "import os\nos.read(os.pipe()[0], 1)",
        "import signal\nsignal.pause()",
        "import time\nwhile True: time.sleep(0.0001)",
        "import os\nwhile True: os.sched_yield()",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ntime.sleep(60)",
        "import queue\nqueue.Queue().get()",
    ],
)
async def test_idle_step_ends_by_wall_time(code: str) -> None:
    async with settings(timeout=0.4).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        start = time.monotonic()
        execution = await asyncio.wait_for(root.run(code), 20)
        assert execution.status == "timeout", execution
        assert execution.error == "the step ran longer than its limit of 0.4 s and was stopped"
        assert 0.4 <= execution.seconds < 3
        assert time.monotonic() - start >= 0.35


async def test_threads_add_up() -> None:
    async with settings(timeout=0.5).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        thread = "def burn():\n    end = time.thread_time() + 0.3\n    while time.thread_time() < end: pass\n"
        start = "threads = [threading.Thread(target=burn) for _ in range(4)]\nfor thread in threads: thread.start()\n"
        execution = await root.run(f"import threading, time\n{thread}{start}for thread in threads: thread.join()")
        assert execution.status == "timeout"
        assert 0.5 <= execution.seconds


async def test_sleep_and_work_add_up() -> None:
    async with settings(timeout=0.5).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        code = "import time\ntime.sleep(0.3)\n" + COMPUTE.format(seconds=0.3)
        assert (await root.run(code)).status == "timeout"


async def test_many_tool_calls_cost_only_their_own_time() -> None:
    async def slow(request: HttpRequest) -> ToolAnswer:
        await asyncio.sleep(0.1)
        return await tool(request)

    tool = Tool()
    async with settings(timeout=0.5).open() as sandbox:
        root = await sandbox.start(TASK, slow)
        code = "import requests\nfor n in range(12): requests.get(f'https://a.example/{n}')\nprint('done')"
        execution = await root.run(code)
        assert (execution.status, execution.observation) == ("ok", "done\n")
        assert execution.seconds < 0.5


async def test_work_of_other_threads_during_a_tool_call_counts() -> None:
    async def slow(request: HttpRequest) -> ToolAnswer:
        await asyncio.sleep(2)
        return await Tool()(request)

    async with settings(timeout=0.5).open() as sandbox:
        root = await sandbox.start(TASK, slow)
        code = "import requests\n" + HOG.replace("for thread in threads: thread.join()", "")
        execution = await root.run(f"{code}\nrequests.get('https://a.example')\nimport time\ntime.sleep(0.3)")
        assert execution.status == "timeout"


async def test_process_that_only_waits_for_a_core_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "codetool.execution.process_timer"
    monkeypatch.setattr(f"{module}.MIN_WALL_SECONDS", 0.3)
    monkeypatch.setattr(f"{module}.MAX_WALL_FACTOR", 2)
    monkeypatch.setattr(f"{module}.read_cpu_seconds", lambda process: 1.0)
    monkeypatch.setattr(f"{module}.is_runnable", lambda process: True)
    with pytest.raises(OverloadedError, match="waited .* for a core .*: the machine is overloaded"):
        await ProcessTimer(0.1, 1).wait_within_limit(asyncio.Event().wait)  # type: ignore[arg-type]
