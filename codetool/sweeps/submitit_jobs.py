"""Wait for the jobs of a submitit launcher, and interrupt them.

The launcher itself waits for none after the first one that has died, and leaves all running when it is interrupted.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

JOBS_FOLDER = ".submitit"
"""Folder of the sweep's folder in which each job has a folder, named by its id."""
LOCAL_POLL_SECONDS, SLURM_POLL_SECONDS = 0.2, 5.0


def list_jobs(folder: Path) -> set[Path]:
    """Return the folders of all jobs that were ever submitted from a sweep's folder."""
    return {path for path in (folder / JOBS_FOLDER).glob("*") if path.is_dir() and path.name[:1].isdigit()}


def wait_for_jobs(jobs: set[Path], launcher: str) -> None:
    """Wait until no job runs or is queued any more; `launcher` is the dotted name of the launcher's class."""
    on_slurm = launcher.endswith("SlurmLauncher")
    runs: Callable[[Path], bool] = _is_queued if on_slurm else _is_running
    while any(runs(job) for job in jobs):
        time.sleep(SLURM_POLL_SECONDS if on_slurm else LOCAL_POLL_SECONDS)


def interrupt_jobs(jobs: set[Path]) -> None:
    """Send the processes of local jobs what Ctrl-C sends, so that they end in order; jobs of SLURM are left alone."""
    for job in jobs:
        with suppress(OSError):
            children = Path(f"/proc/{job.name}/task/{job.name}/children").read_text().split()
            for process in (*children, job.name):
                os.kill(int(process), signal.SIGINT)


def _is_running(job: Path) -> bool:
    """Whether the process of a local job, whose id is that of the process, is alive."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{job.name}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _is_queued(job: Path) -> bool:
    """Whether SLURM has not finished a job yet."""
    import submitit

    return not submitit.SlurmJob(folder=job, job_id=job.name).done(force_check=True)
