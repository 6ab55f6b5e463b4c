"""Waiting for local jobs of submitit, and interrupting them: a job's folder has the id of its process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from codetool.sweeps.launching import CellLauncher
from codetool.sweeps.submitit_jobs import JOBS_FOLDER, interrupt_jobs, list_jobs, wait_for_jobs

LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
CONTROLLER = "import subprocess; subprocess.run(['sleep', '60'])"


@pytest.fixture
def job(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process with a child, as the controller of a job is, and its folder."""
    process = subprocess.Popen([sys.executable, "-S", "-c", CONTROLLER], stderr=subprocess.DEVNULL)
    (tmp_path / JOBS_FOLDER / str(process.pid)).mkdir(parents=True)
    (tmp_path / JOBS_FOLDER / "%j").mkdir()
    return process


def test_jobs_are_waited_for_until_their_processes_have_ended(job: subprocess.Popen[bytes], tmp_path: Path) -> None:
    jobs = list_jobs(tmp_path)
    assert [folder.name for folder in jobs] == [str(job.pid)]
    waiting = threading.Thread(target=wait_for_jobs, args=(jobs, LOCAL))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    interrupt_jobs(jobs)
    waiting.join(5)  # a zombie counts as ended
    assert not waiting.is_alive()
    job.wait()


def test_an_interrupt_reaches_a_job_and_its_child(job: subprocess.Popen[bytes], tmp_path: Path) -> None:
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children")
    while not (child := children.read_text().strip()):
        time.sleep(0.01)
    interrupt_jobs(list_jobs(tmp_path))
    assert job.wait(5) in (-signal.SIGINT, 1, 130)
    while Path(f"/proc/{child}").exists():
        time.sleep(0.01)


def test_a_sweep_names_the_folder_of_what_jobs_print(tmp_path: Path) -> None:
    submitit, basic = ({"hydra": {"launcher": {"submitit_folder": "x"} if has else {}}} for has in (True, False))
    create: Any = None
    said = [
        CellLauncher("sweep", tmp_path, [], create, OmegaConf.create(config)).describe_logs()
        for config in (submitit, basic)
    ]
    assert said == [f"; what each job prints is in {tmp_path / JOBS_FOLDER}", ""]
