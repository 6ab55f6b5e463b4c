"""Signals to a training: Ctrl-C and SIGTERM end it after the current update, and SLURM's signal requeues its job."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from contextlib import ExitStack
from types import FrameType
from typing import Any

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from codetool.training.training_log import ProgressObserver

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The user has interrupted training, and the last checkpoint has been written."""


class SignalHandler:
    """Handler of Ctrl-C and SIGTERM: the first signal ends training after the current update, a second one at once."""

    def __init__(self, observer: ProgressObserver | None) -> None:
        self.asked = False
        self.requeues = False
        """Whether SLURM has sent the signal after which its job is to run again."""
        self._running, self._watch = False, observer
        self._requeue_signal: int | None = None

    def listen(self, stack: ExitStack) -> None:
        """Install the handler for both signals until the stack is closed."""
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, self))

    def running(self, environment: Any) -> None:
        """Note that updates are being made, and replace Lightning's handlers.

        Lightning's handler of SIGTERM waits for others, and that of SLURM's signal saves a state in the middle of an
        update. `environment` is Lightning's cluster environment.
        """
        self._running = True
        signal.signal(signal.SIGTERM, self)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and environment.requeue_signal:
            self._requeue_signal = environment.requeue_signal
            signal.signal(self._requeue_signal, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.requeues = self.requeues or number == self._requeue_signal
        if self.asked or not self._running:
            raise Interrupted
        self.asked = True
        if self._watch:
            self._watch.stopping()


def requeue_slurm_job() -> None:
    """Ask SLURM to run this job again, whose command then continues the training; log a warning if it refuses."""
    job_id = os.environ.get("SLURM_JOB_ID", "")
    if (array := os.environ.get("SLURM_ARRAY_JOB_ID")) is not None:
        job_id = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    try:
        done = subprocess.run(["scontrol", "requeue", job_id], capture_output=True, text=True)
    except OSError as error:
        log.warning("SLURM job %s is not queued again: scontrol: %s.", job_id, error.strerror)
        return
    if done.returncode:
        log.warning("SLURM job %s is not queued again: %s", job_id, " ".join(done.stderr.split()))
    else:
        log.info("SLURM job %s is queued again, and will continue this training.", job_id)
