"""No process of a server outlives the run, however either ends. The servers here are small programs with children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

SERVER = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(os.getpid(), child.pid, flush=True)
if "dies" in sys.argv:
    sys.exit(7)
time.sleep(60)
"""
RUN = """
import subprocess, sys, time
command = [sys.executable, "-m", "codetool.models.vllm_watchdog", *sys.argv[1:]]
process = subprocess.Popen(command, stdin=subprocess.PIPE)
time.sleep(60)
"""


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Process ids to make an end of if a test fails."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)


def supervise(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "codetool.models.vllm_watchdog", sys.executable, "-c", SERVER, *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ids(process: subprocess.Popen[str], started: list[int]) -> list[int]:
    assert process.stdout is not None
    found = [int(word) for word in process.stdout.readline().split()]
    started += found
    return found


def gone(pids: list[int], within: float) -> bool:
    end = time.monotonic() + within
    while any(psutil.pid_exists(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_letting_go_ends_the_server_and_a_child_that_left_its_session(started: list[int]) -> None:
    process = supervise()
    server = ids(process, started)
    process.communicate(timeout=10)
    assert gone(server, within=20)


def test_a_server_that_ignores_the_request_is_killed(started: list[int]) -> None:
    process = supervise("stubborn")
    server = ids(process, started)
    process.communicate(timeout=15)
    assert gone(server, within=20)


def test_a_run_killed_at_once_leaves_no_server(started: list[int]) -> None:
    run = subprocess.Popen([sys.executable, "-c", RUN, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    server = ids(run, started)
    run.kill()
    run.communicate(timeout=10)
    assert gone(server, within=20)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_ends_the_server(started: list[int], name: signal.Signals) -> None:
    process = supervise()
    server = ids(process, started)
    with process:
        process.send_signal(name)
        process.wait(timeout=10)
    assert gone(server, within=20)


def test_a_server_that_ends_leaves_no_child_and_its_code_is_passed_on(started: list[int]) -> None:
    process = supervise("dies")
    server = ids(process, started)
    with process:
        assert process.wait(timeout=10) == 7
    assert gone(server, within=20)


def test_the_supervisor_imports_nothing_heavy() -> None:
    program = "import sys, codetool.models.vllm_watchdog; print(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150
