"""What ends a process from outside gives a step no verdict; what its own code does is its own failure."""

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest
from sandbox_support import TASK, Tool, list_warnings, settings

from codetool.errors import SandboxError
from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.live_process import LiveProcess

CALL = "import requests\nn = requests.get('https://a.example/q').json()['n']\n"


async def kill_when_running(interpreter: SandboxInterpreter, tool: Tool, calls: int) -> None:
    """Kill the interpreter's process from outside once its step has made so many calls."""
    while len(tool.asked) < calls or interpreter.process is None or not interpreter.process.active_operations:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    os.kill(interpreter.process.pid, signal.SIGKILL)


async def test_step_killed_from_outside_is_run_again_without_calling_a_tool_twice() -> None:
    tool = Tool()
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, tool)
        await root.run("x = 40")
        branch = await root.branch()
        killing = asyncio.ensure_future(kill_when_running(branch, tool, 1))
        execution = await branch.run(f"{CALL}import time\ntime.sleep(1)\n{CALL}print(x + n)")
        await killing
        assert (execution.status, execution.observation) == ("ok", "42\n")
        assert len(tool.asked) == 2
        assert len(execution.calls) == 2
        assert sandbox.counts == {"interrupted:outside": 1}


async def test_step_killed_every_time_has_no_verdict() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branch, other = await root.branch(), await root.branch()

        async def keep_killing() -> None:
            while True:
                if branch.process and branch.process.alive:
                    os.kill(branch.process.pid, signal.SIGKILL)
                await asyncio.sleep(0.01)

        killing = asyncio.ensure_future(keep_killing())
        with pytest.raises(SandboxError, match="interrupted 3 times, not by its own code .*killed from outside"):
            await branch.run("import time\ntime.sleep(1)")
        killing.cancel()
        assert (await other.run("print(1)")).observation == "1\n"
        assert sandbox.counts["interrupted:outside"] == 3


async def test_idle_process_killed_from_outside_is_rebuilt() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("x = 1")
        assert root.process is not None
        os.kill(root.process.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        assert (await root.run("print(x)")).observation == "1\n"
        assert root.process is not None
        os.kill(root.process.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        assert (await (await root.branch()).run("print(x)")).observation == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import os\nos._exit(137)",
        "import ctypes\nctypes.string_at(1)",
        "import ctypes\nctypes.CDLL(None).abort()",
        "import signal, time\nsignal.alarm(1)\ntime.sleep(3)",
        "import signal, time\nsignal.setitimer(signal.ITIMER_VIRTUAL, 0.01)\nwhile True: pass",
        "import ctypes\nctypes.CDLL(None).syscall(60, 9)",
        "import os\nfor n in range(3, 99):\n    try: os.close(n)\n    except OSError: pass",
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self): return repr(self)\nrepr(A())",
    ],
)
async def test_end_of_a_steps_own_doing_is_its_failure_at_once(code: str) -> None:
    tool = Tool()
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, tool)
        execution = await root.run(CALL + code)
        assert execution.status == "killed", execution
        assert len(tool.asked) == 1
        assert sandbox.counts == {}


@pytest.mark.parametrize("victim", ["pid 1", "zygote", "first process"])
async def test_sandbox_killed_from_outside_is_started_again_and_all_steps_end(victim: str) -> None:
    tool = Tool()
    async with settings().open() as sandbox:
        roots = [await sandbox.start(TASK, tool) for _ in range(4)]
        for number, root in enumerate(roots):
            await root.run(f"x = {number}")
        branches = [await root.branch() for root in roots]
        code = f"{CALL}import time\ntime.sleep(0.4)\nprint(x)"
        steps = [asyncio.ensure_future(branch.run(code)) for branch in branches]
        await asyncio.sleep(0.15)
        handle, zygote = sandbox.handle, sandbox._resources.zygote
        pids = {"pid 1": handle.init_pid, "zygote": zygote.pid, "first process": handle.root_process.pid}
        os.kill(pids[victim], signal.SIGKILL)
        assert [(await step).observation for step in steps] == ["0\n", "1\n", "2\n", "3\n"]
        assert (await (await sandbox.start(TASK, tool)).run("print(5)")).observation == "5\n"
        assert (await (await roots[3].branch()).run("print(x)")).observation == "3\n"
        assert len(tool.asked) == 4
        if victim == "first process" and sandbox.in_force["namespaces"].startswith("NO"):
            assert "restarts" not in sandbox.counts, "it is needed only for namespaces"
            return
        assert sandbox.counts["restarts"] == 1
        assert not Path(f"/proc/{pids['first process']}").exists()


async def test_only_branches_are_preferred_by_the_out_of_memory_killer() -> None:
    own = Path("/proc/self/oom_score_adj").read_text()
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branch = await root.branch()
        await branch.run("1")
        assert root.process is not None
        assert branch.process is not None
        preferred = {root.process.pid, branch.process.pid}
        scores = {pid: Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in sandbox.handle.pids()}
        assert {pid for pid, score in scores.items() if score == "1000\n"} == preferred
        assert {score for pid, score in scores.items() if pid not in preferred} == {own}


async def test_lack_of_open_files_costs_idle_branches_and_no_step() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("x = 7")
        branches = [await root.branch() for _ in range(4)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        try:
            more = [await branch.branch() for branch in branches]
            seen = [(await branch.run("print(x)")).observation for branch in (*more, *branches)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert seen == ["7\n"] * 8


async def test_zygote_lives_on_when_the_system_refuses_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.execution.interpreter_resources.FORK_PAUSES", (0.0, 0.01, 0.02))
    async with settings().open() as sandbox:
        root, zygote = await sandbox.start(TASK, Tool()), sandbox._resources.zygote
        await root.run("x = 1")
        soft, hard = resource.prlimit(zygote.pid, resource.RLIMIT_NPROC)
        resource.prlimit(zygote.pid, resource.RLIMIT_NPROC, (1, hard))
        try:
            other = await sandbox.start(TASK, Tool())
        except SandboxError as error:
            assert "no interpreter could be started: no new process" in str(error)
            assert "ulimit -u" in str(error)
        else:
            await other.close()
            pytest.skip("this kernel does not apply RLIMIT_NPROC to the sandbox's user")
        finally:
            resource.prlimit(zygote.pid, resource.RLIMIT_NPROC, (soft, hard))
        assert (await root.run("print(x)")).observation == "1\n"
        assert (await (await sandbox.start(TASK, Tool())).run("print(2)")).observation == "2\n"
        assert sandbox._resources.zygote is zygote


async def test_sandbox_is_not_restarted_with_weaker_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with settings().open() as sandbox:
        await sandbox.start(TASK, Tool())
        resources = sandbox._resources
        dead, launch = resources.zygote, resources.launch

        async def launch_weaker() -> LiveProcess:
            zygote = await launch()
            zygote.handle.in_force = {**zygote.handle.in_force, "landlock": "NO (made up)"}
            return zygote

        monkeypatch.setattr(resources, "launch", launch_weaker)
        os.kill(dead.handle.init_pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        with pytest.raises(SandboxError, match="starts again only without landlock"):
            await sandbox.start(TASK, Tool())
        monkeypatch.undo()
        root = await sandbox.start(TASK, Tool())
        assert (await root.run("print(1)")).observation == "1\n"


async def test_where_the_kernel_reports_no_end_a_step_that_always_ends_failed_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before Linux 6.15 the end of another process's child is unknown: attempts that all end alike decide."""
    monkeypatch.setattr("codetool.execution.process_end.find_end_cause", lambda *_, **__: "unknown")
    tool = Tool()
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, tool)
        branch, other = await root.branch(), await root.branch()
        execution = await branch.run(f"{CALL}import os\nos._exit(1)")
        assert execution.status == "killed"
        assert "ended by itself in each of 3 attempts" in (execution.error or "")
        assert (len(tool.asked), len(execution.calls)) == (1, 1)
        killing = asyncio.ensure_future(kill_when_running(other, tool, 2))
        execution = await other.run(f"{CALL}import time\ntime.sleep(1)\nprint(n)")
        await killing
        assert (execution.status, execution.observation) == ("ok", "2\n")


@pytest.mark.parametrize("when", ["before", "while it starts again"])
async def test_closed_sandbox_is_not_started_again(when: str, caplog: pytest.LogCaptureFixture) -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("x = 1")
        resources = sandbox._resources
        launched: list[LiveProcess] = []
        closing: list[asyncio.Task[None]] = []

        async def launch_and_close() -> LiveProcess:
            closing.append(asyncio.ensure_future(resources.close()))
            await asyncio.sleep(0)
            launched.append(await launch())
            return launched[0]

        launch, resources.launch = resources.launch, launch_and_close
        if when == "before":
            await resources.close()
        else:
            os.kill(sandbox.handle.init_pid, signal.SIGKILL)
            await asyncio.sleep(0.1)
        with pytest.raises(SandboxError, match="the sandbox was closed"):
            await sandbox.start(TASK, Tool())
        with pytest.raises(SandboxError, match="the sandbox was closed"):
            await root.run("print(x)")
        await asyncio.gather(*closing)
    for zygote in launched:
        assert not zygote.alive
        assert zygote.handle.root_process.poll() is not None
    assert len(launched) == (when != "before")
    assert len(list_warnings(caplog.records)) == (when != "before")


async def test_step_that_runs_while_the_sandbox_closes_does_not_start_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branches = [await root.branch() for _ in range(3)]
        steps = [asyncio.ensure_future(branch.run("import time\ntime.sleep(60)")) for branch in branches]
        steps += [asyncio.ensure_future(root.branch()) for _ in range(3)]
        await asyncio.sleep(0.05)
    for ended in await asyncio.gather(*steps, return_exceptions=True):
        assert isinstance(ended, SandboxError) or not isinstance(ended, BaseException), repr(ended)
    assert list_warnings(caplog.records) == []


async def test_restart_fails_no_operation_that_waits_for_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zygote alone is killed while branches wait for their mounts: they are built in the next sandbox."""
    async with settings().open() as sandbox:
        roots = [await sandbox.start(TASK, Tool()) for _ in range(4)]
        for number, root in enumerate(roots):
            await root.run(f"x = {number}")
        handle = sandbox.handle
        os.kill(handle.init_pid, signal.SIGSTOP)
        branches = [asyncio.ensure_future(root.branch()) for root in roots]
        await asyncio.sleep(0.3)
        os.kill(sandbox._resources.zygote.pid, signal.SIGKILL)
        starting = asyncio.ensure_future(sandbox.start(TASK, Tool()))
        await asyncio.sleep(0.3)
        os.kill(handle.init_pid, signal.SIGCONT)
        for number, branch in enumerate(branches):
            assert (await (await branch).run("print(x)")).observation == f"{number}\n"
        assert (await (await starting).run("print(5)")).observation == "5\n"
