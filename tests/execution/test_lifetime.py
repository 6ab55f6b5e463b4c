import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sandbox_support import TASK, Tool, settings

from codetool.execution.sandbox import Sandbox

HERE = Path(__file__).parent
HOST = """
import asyncio, sys
from sandbox_support import TASK, Tool, settings
async def main():
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branches = [await root.branch() for _ in range(5)]
        print(sandbox.handle.root_process.pid, flush=True)
        await asyncio.gather(*(b.run("while True: pass") for b in branches), asyncio.sleep(60))
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


def start_host(*prefix: str, isolation: str = "required") -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A host with five busy branches, and every process of its sandbox."""
    environment = os.environ | {"PYTHONPATH": str(HERE), "CODETOOL_TEST_ISOLATION": isolation}
    command = [*prefix, sys.executable, "-c", HOST]
    host = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert host.stdout is not None
    first = psutil.Process(int(host.stdout.readline()))
    return host, [first, *first.children(recursive=True)]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def count_scratch_folders(sandbox: Sandbox) -> int:
    """Number of scratch folders that any process of the sandbox has mounted."""
    devices = set()
    for pid in sandbox.handle.pids():
        lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        devices |= {fields[2] for fields in lines if fields[4].startswith("/scratch/")}
    return len(devices)


def none_left(processes: list[psutil.Process], seconds: float = 30) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_is_left_when_the_host_is_killed_or_interrupted(number: signal.Signals) -> None:
    host, processes = start_host()
    assert len(processes) >= 8
    os.killpg(host.pid, number)
    assert none_left(processes)
    host.communicate(timeout=60)


def test_no_process_is_left_without_namespaces_either() -> None:
    host, processes = start_host(sys.executable, str(HERE / "weaker.py"), "no_namespaces", isolation="best_effort")
    assert len(processes) >= 8
    host.kill()
    assert none_left(processes)
    host.communicate(timeout=60)


async def test_nothing_is_left_after_close() -> None:
    files = open_files()
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        branches = [await root.branch() for _ in range(10)]
        first = psutil.Process(sandbox.handle.root_process.pid)
        processes = [first, *first.children(recursive=True)]
        assert len(processes) >= 13
        await asyncio.gather(*(branch.run("1") for branch in branches))
    assert not any(process.is_running() for process in processes)
    assert open_files() == files


async def test_closed_branches_leave_no_file_process_or_folder() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await (await root.branch()).close()
        files, first = open_files(), psutil.Process(sandbox.handle.root_process.pid)
        for _ in range(20):
            branch = await root.branch()
            await branch.run("open('f', 'w').write('x')")
            await branch.close()
        end = time.monotonic() + 20
        while time.monotonic() < end and len(first.children(True)) > 3:
            await asyncio.sleep(0.01)
        assert open_files() == files
        assert len(first.children(recursive=True)) == 3
        assert count_scratch_folders(sandbox) == 1


async def test_branch_that_failed_leaves_no_folder() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run(
            "import os\nforks = []\nos.register_at_fork(before=lambda: forks.append(1), "
            "after_in_child=lambda: len(forks) > 1 and os._exit(1))"
        )
        first = await root.branch()
        await (await root.branch()).close()
        await asyncio.sleep(0.1)
        assert count_scratch_folders(sandbox) == 1, "that of the first branch"
        await first.close()


@pytest.mark.parametrize("live", [100, pytest.param(1000, marks=pytest.mark.slow)])
async def test_many_branches_live_at_once(live: int) -> None:
    async with settings(max_live_processes=live + 1).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        await root.run("x = 1")
        branches = [await root.branch() for _ in range(live)]
        assert sandbox.live_branches == live + 1
        seen = await asyncio.gather(*(branch.run(f"x + {n}") for n, branch in enumerate(branches)))
        assert [execution.observation for execution in seen] == [f"{n + 1}\n" for n in range(live)]
        assert sandbox.evicted_branches == 0


async def test_fewer_live_branches_where_files_are_scarce() -> None:
    code = (
        "import asyncio, resource\nfrom sandbox_support import settings\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\nasync def main():\n"
        "    async with settings(max_live_processes=1000).open() as sandbox: print(sandbox.pool.limit)\n"
        "asyncio.run(main())"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "36\n"
    assert "executor.max_live_processes=1000 is lowered to 36" in ended.stderr


async def test_host_goes_on_when_the_sandbox_is_killed() -> None:
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        os.kill(sandbox.handle.init_pid, signal.SIGKILL)
        await asyncio.sleep(0.1)
        used = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - used < 0.2
        assert (await (await root.branch()).run("print(1)")).observation == "1\n"


def test_step_is_not_blamed_for_time_in_which_its_host_was_stopped() -> None:
    code = (
        "import asyncio\nfrom sandbox_support import TASK, Tool, settings\nasync def main():\n"
        "    async with settings(timeout=0.4).open() as sandbox:\n"
        "        root = await sandbox.start(TASK, Tool())\n        print('begins', flush=True)\n"
        "        execution = await root.run('import time, requests\\ntime.sleep(0.2)\\n'\n"
        "            'requests.get(\"https://a.example\")\\ntime.sleep(0.1)')\n"
        "        print(execution.status, flush=True)\nasyncio.run(main())"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    host = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "begins\n"
    host.send_signal(signal.SIGSTOP)
    time.sleep(1.6)
    host.send_signal(signal.SIGCONT)
    assert host.communicate(timeout=60)[0] == "ok\n"
