"""Start one training process for each device of this machine; the calling process is rank 0.

The other ranks run `python -m codetool.training.other_process FILE`. They end when rank 0 ends, even if it is killed.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.loggers import Logger

from codetool.errors import CodeToolError
from codetool.runs.write_errors import explain_write_errors
from codetool.training.module import MetricsFunction
from codetool.training.run_callback import LOSSES, VALIDATIONS, ProgressObserver, keep_latest_records, require_losses
from codetool.training.train_job import LAST, TrainJob, set_damaged_checkpoint_aside

OTHER_PROCESS = "codetool.training.other_process"
JOIN_TIMEOUT = 10.0
"""Seconds that rank 0 has to raise an error by itself after another process failed; then it is ended."""


def launch_training(
    job: TrainJob, observer: ProgressObserver, measure: MetricsFunction | None, loggers: Sequence[Logger] = ()
) -> None:
    """Train with one process per device of the job; `loggers` are Lightning's, of the first process.

    Raises the same errors as `fit`, and CodeToolError if another process fails.
    """
    from codetool.training.fit import count_updates, fit

    with explain_write_errors(job.checkpoints):
        job.checkpoints.mkdir(exist_ok=True)
    set_damaged_checkpoint_aside(job.checkpoints / LAST)
    for name in (LOSSES, VALIDATIONS):
        keep_latest_records(job.folder / name)
    require_losses(job.folder, count_updates(job.checkpoints / LAST))
    if job.devices.count == 1 and job.trainer.strategy in ("auto", "ddp"):
        fit(job, 0, observer, measure, loggers)
        return
    with _set_rendezvous(job.devices.count) as environment, _start_other_processes(job, environment) as others:
        try:
            fit(job, 0, observer, measure, loggers)
        except CodeToolError:  # which says more than what other processes make of it
            raise
        except Exception as error:
            if (failed := _find_failure(job, others, 2.0)) is not None:
                raise failed from error
            raise


class _ProcessFailedError(CodeToolError):
    """Another process of the training failed; the message names its log."""


@contextmanager
def _set_rendezvous(world: int) -> Iterator[dict[str, str]]:
    """Set the environment variables by which the processes find each other, and yield them; undo it on exit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    values = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    previous_values = {name: os.environ.get(name) for name in (*values, "LOCAL_RANK")}
    os.environ.update(values | {"LOCAL_RANK": "0"})
    try:
        yield values
    finally:
        for name, value in previous_values.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _start_other_processes(
    job: TrainJob, environment: Mapping[str, str]
) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Start the processes of ranks 1 and up, yield them, and end them on exit.

    Their logs, `process-N.log`, are deleted, except those of failed processes when their failure is the error raised.
    """
    file = job.folder / "job.pickle"
    with explain_write_errors(file):
        file.write_bytes(pickle.dumps(job))
    started: list[subprocess.Popen[bytes]] = []
    failed_ranks: set[int] = set()
    is_over = threading.Event()
    try:
        for rank in range(1, job.devices.count):
            with _log_file(job.folder, rank).open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-m", OTHER_PROCESS, str(file)],
                        env=os.environ | environment | {"LOCAL_RANK": str(rank)},
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,  # Ctrl-C is ours to pass on
                    )
                )
        threading.Thread(target=_monitor_processes, args=(job, started, is_over), daemon=True).start()
        yield started
    except _ProcessFailedError:
        failed_ranks |= {rank for rank, process in enumerate(started, start=1) if process.poll()}
        raise
    finally:
        is_over.set()
        for process in started:
            process.kill()
            process.communicate()
        file.unlink()
        for rank in set(range(1, job.devices.count)) - failed_ranks:
            _log_file(job.folder, rank).unlink(missing_ok=True)


def _monitor_processes(job: TrainJob, others: Sequence[subprocess.Popen[bytes]], is_over: threading.Event) -> None:
    """End this process if another one has failed and this one keeps waiting for it, as NCCL does without a limit."""
    while not is_over.wait(1.0):
        if any(process.poll() for process in others):
            if is_over.wait(JOIN_TIMEOUT):
                return
            print(f"error: {_find_failure(job, others, 0.0)}", file=sys.stderr, flush=True)
            os._exit(1)


def _find_failure(
    job: TrainJob, others: Sequence[subprocess.Popen[bytes]], patience: float
) -> _ProcessFailedError | None:
    """Return the error of the first other process that failed; None if none fails within `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        for rank, process in enumerate(others, start=1):
            if process.poll():
                log = _log_file(job.folder, rank)
                *_, last_line = ["", *log.read_text(errors="replace").strip().splitlines()]
                reason = last_line or f"exit {process.returncode}"
                return _ProcessFailedError(f"process {rank} of the training failed: {reason} (all that it said: {log})")
        if time.monotonic() > deadline:
            return None
        time.sleep(0.1)


def _log_file(folder: Path, rank: int) -> Path:
    return folder / f"process-{rank}.log"
