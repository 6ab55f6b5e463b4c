"""Code that delays forks costs one short wait, is charged for it, and ends only its own path."""

import asyncio

import pytest
from sandbox_support import TASK, Tool, settings

HOOKS = {
    "sleeping child": "import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(1000))",
    "burning child": "import os\ndef burn():\n    while True: pass\nos.register_at_fork(after_in_child=burn)",
    "sleeping before": "import os, time\nos.register_at_fork(before=lambda: time.sleep(1000))",
    "burning before": "import os\ndef burn():\n    while True: pass\nos.register_at_fork(before=burn)",
    "sleeping parent": "import os, time\nos.register_at_fork(after_in_parent=lambda: time.sleep(1000))",
    "locked child": "import os, threading\nl = threading.Lock()\nl.acquire()\n"
    "os.register_at_fork(after_in_child=l.acquire)",
    "of the C library": "import ctypes\nlibc = ctypes.CDLL(None)\n"
    "hook = ctypes.CFUNCTYPE(None)(lambda: libc.sleep(999))\n"
    "libc.__register_atfork(None, None, hook, None)",
}


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.execution.forking.FORK_SECONDS", 0.4)


@pytest.mark.parametrize("name", HOOKS)
async def test_slow_fork_costs_one_short_wait_and_ends_only_its_path(name: str) -> None:
    async with settings(timeout=1.0).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        slow, honest = await root.branch(), await root.branch()
        assert (await slow.run(HOOKS[name])).status == "ok"
        children = await asyncio.gather(*(slow.branch() for _ in range(5)))
        executions = await asyncio.gather(*(child.run("print(1)") for child in children))
        for execution in executions:
            assert execution.status == "killed", execution
            assert "delays every fork" in (execution.error or "")
        waits = sorted(execution.seconds >= 0.4 for execution in executions)
        assert waits == [False] * 4 + [True], "five branches cost one wait"
        assert (await honest.run("print(2)")).observation == "2\n"
        assert (await (await root.branch()).run("print(3)")).observation == "3\n"
        assert sandbox.counts == {}


async def test_slow_fork_that_ends_a_steps_threads_is_charged_to_that_step() -> None:
    async with settings(timeout=1.0).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        code = HOOKS["sleeping child"] + "\nimport threading\nthreading.Thread(target=threading.Event().wait).start()"
        execution = await root.run(code)
        assert execution.status == "killed"
        assert execution.seconds >= 0.4
        assert "threads of its last step could not be stopped" in (execution.error or "")


async def test_fork_that_waits_for_a_core_is_not_slow() -> None:
    burn = (
        "import threading\ndef burn():\n    while True: pass\nfor _ in range(8): threading.Thread(target=burn).start()"
    )
    async with settings(timeout=2.0).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        burning = [asyncio.ensure_future((await root.branch()).run(burn)) for _ in range(6)]
        await asyncio.sleep(0.2)
        for _ in range(4):
            assert (await (await root.branch()).run("print(1)")).observation == "1\n"
        await asyncio.gather(*burning)
