"""Workers end with a sweep that is killed, also while they start."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codetool.runs.worker_reaper import find_marked_processes

SWEEP = """
import os, subprocess, sys, time
from codetool.runs.worker_reaper import end_workers_if_killed
from codetool.sweeps.launching import MARK_VARIABLE, list_joblib_files
with end_workers_if_killed(MARK_VARIABLE, list_joblib_files()):
    workers = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)]
    workers.append(subprocess.Popen([sys.executable, "-c", "'resource_tracker'; import time; time.sleep(2)"]))
    print(f"{MARK_VARIABLE}={os.environ[MARK_VARIABLE]}", *(worker.pid for worker in workers), flush=True)
    if sys.argv[1] == "wait":
        time.sleep(60)
print(*(worker.poll() for worker in workers), flush=True)
"""


def start(mode: str) -> tuple[subprocess.Popen[str], str, list[int]]:
    """A sweep with a worker and a resource tracker, its mark, and their process ids."""
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, mode], stdout=subprocess.PIPE, text=True)
    assert sweep.stdout is not None
    mark, *pids = sweep.stdout.readline().split()
    return sweep, mark, list(map(int, pids))


def test_a_killed_sweep_takes_its_workers_with_it_and_no_resource_tracker() -> None:
    sweep, mark, [worker, tracker] = start("wait")
    assert worker in find_marked_processes(mark) and tracker not in find_marked_processes(mark)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    deadline = time.monotonic() + 5
    while find_marked_processes(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert find_marked_processes(mark) == []


def test_a_sweep_that_ends_by_itself_leaves_its_workers_to_the_launcher() -> None:
    sweep, mark, [worker, _] = start("end")
    assert sweep.stdout is not None and sweep.stdout.readline().split() == ["None", "None"]
    assert find_marked_processes(mark) == [worker]
    subprocess.run(["kill", str(worker)], check=True)
    sweep.communicate()


def test_what_joblib_made_for_a_killed_sweep_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill of the process group also kills the trackers that would remove it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    sweep, _, _ = start("wait")
    semaphore = Path(f"/dev/shm/sem.loky-{sweep.pid}-abc")
    folder = tmp_path / f"joblib_memmapping_folder_{sweep.pid}_abc"
    kept = tmp_path / f"joblib_memmapping_folder_{sweep.pid}0_abc"
    semaphore.touch()
    (folder / "part").mkdir(parents=True)
    kept.mkdir()
    sweep.kill()
    sweep.communicate()
    deadline = time.monotonic() + 10
    while (semaphore.exists() or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not semaphore.exists() and not folder.exists() and kept.exists()
