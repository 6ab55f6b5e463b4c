"""The host's watchers read what a hostile process writes, and go on when one of them fails."""

import asyncio

import pytest
from sandbox_support import TASK, Tool, list_warnings, settings

from codetool.concurrency import keep_running
from codetool.execution import process_status
from codetool.execution.inside.limits import list_parents, measure_cpu_seconds, read_parent

NAMES = (b"\xff\xff", b") R 1 2 3", b"a)\nb (", b"\n\n) Z 0", b"))))", b"")
RENAME = "import ctypes\nctypes.CDLL(None).prctl(15, {name!r}, 0, 0, 0)\n"


@pytest.mark.parametrize("name", NAMES)
async def test_hostile_name_breaks_no_reading_of_the_process(name: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with settings(timeout=0.4).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run(RENAME.format(name=name))
        process, zygote = root.process, sandbox._resources.zygote
        assert process is not None
        assert read_parent(process.pid) == list_parents()[process.pid] == zygote.pid
        assert 0 < process_status.read_cpu_seconds(process.pid) < 5
        assert abs(measure_cpu_seconds(process.pid) - process_status.read_cpu_seconds(process.pid)) < 0.05
        while process_status.is_runnable(process.pid):  # it has reported its step's end, and still goes to sleep
            await asyncio.sleep(0.001)
        assert not process_status.is_ending(process.pid)
        assert process_status.measure_memory(process.pid) > 2**20
        branch = await root.branch()
        thread = "import threading\nthread = threading.Thread(target=print, args=(1,))\nthread.start()\nthread.join()"
        assert (await branch.run(thread)).observation == "1\n"
        assert (await branch.run("while True: pass")).status == "timeout"
        assert (await root.run("print(1)")).observation == "1\n"
        sandbox._audit(process)
    assert not list_warnings(caplog.records)


async def test_audit_goes_on_under_hostile_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.execution.sandbox.AUDIT_SECONDS", 0.05)
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        named, busy = await root.branch(), await root.branch()
        await named.run(RENAME.format(name=b"\xff) \n"))
        await busy.run(
            "import signal\ndef burn(*_):\n    while True: pass\nsignal.signal(signal.SIGALRM, burn)\nsignal.alarm(1)"
        )
        process = busy.process
        assert process is not None
        for _ in range(300):
            await asyncio.sleep(0.02)
            if not process.alive:
                break
        assert not process.alive
        assert named.process is not None
        assert named.process.alive


async def test_watcher_that_fails_is_said_once_and_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codetool.concurrency.RESTART_SECONDS", 0.001)
    starts: list[int] = []

    async def watch() -> None:
        starts.append(1)
        if len(starts) < 3:
            raise ValueError(f"broken\nin {len(starts)}")
        if len(starts) < 5:
            raise OSError("gone")

    watcher = asyncio.ensure_future(keep_running("The watch", watch))
    while len(starts) < 8:
        await asyncio.sleep(0.001)
    watcher.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watcher
    assert [record.getMessage() for record in caplog.records] == [
        "The watch failed and is started again: ValueError: broken in 1",
        "The watch failed and is started again: OSError: gone",
        "The watch failed and is started again: it ended",
    ]


async def test_audit_that_fails_is_restarted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.concurrency.RESTART_SECONDS", 0.001)
    monkeypatch.setattr("codetool.execution.sandbox.AUDIT_SECONDS", 0.01)
    read, failures = process_status.read_cpu_seconds, [1, 1]

    def fail_twice(process: int) -> float:
        if failures:
            failures.pop()
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return read(process)

    monkeypatch.setattr("codetool.execution.sandbox.read_cpu_seconds", fail_twice)
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("import signal\ndef burn(*_):\n    while True: pass\nsignal.signal(14, burn)\nsignal.alarm(1)")
        process = root.process
        assert process is not None
        for _ in range(300):
            await asyncio.sleep(0.02)
            if not process.alive:
                break
        assert not process.alive
    messages = list_warnings(caplog.records)
    assert len(messages) == 1
    assert messages[0].startswith("The audit of idle interpreters failed and is started again: UnicodeDecodeError")
