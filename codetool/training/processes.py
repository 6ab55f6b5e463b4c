"""The processes of a training on one or several machines, and what rank 0 tells the others before Lightning runs.

Processes are started by torchrun, SLURM or another environment that Lightning knows, or by Lightning's own launcher,
which runs the command of rank 0 again. Every process runs the whole stage; only rank 0 makes folders and files.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from rich.console import Console

from codetool.errors import ConfigError
from codetool.training.failed_process import (
    FAILURE_FILE,
    FAILURE_VARIABLE,
    LostProcessError,
    describe_exit,
    describe_failure,
)

log = logging.getLogger(__name__)

END_TIMEOUT = 10.0
"""Seconds that the processes which Lightning's launcher started have to end by themselves after the training."""
FAILURE_TIMEOUT = 5.0
"""Seconds in which a failure of another process must be seen: its record, and by the calls that wait for it."""
POLL_SECONDS = 0.2


def launch(trainer: lightning.Trainer, function: Callable[[], None], folder: Path | None = None) -> None:
    """Call a function in every process of the training, after Lightning's launcher has started those of this machine.

    `folder` is the run folder in rank 0. Raises LostProcessError if another process fails.
    """
    launcher: Any = trainer.strategy.launcher
    if trainer.world_size == 1 or launcher is None:
        function()
        return
    processes = StartedProcesses(folder / FAILURE_FILE if folder else None, trainer.global_rank + 1)
    with _restore_environment():
        if folder and not get_cluster_environment(trainer).creates_processes_externally:
            os.environ[FAILURE_VARIABLE] = str((folder / FAILURE_FILE).resolve())

        def call() -> None:
            processes.take(launcher.procs)
            function()

        try:
            launcher.launch(call, trainer=trainer)
        except RuntimeError as error:
            if not _is_lost_connection(error):
                raise
            raise LostProcessError(processes.find_failure()) from error
        finally:
            processes.end()


class StartedProcesses:
    """The processes that Lightning's launcher has started beside the first one of this machine."""

    def __init__(self, record: Path | None, first_rank: int) -> None:
        """`record` is the file in which a failing process says why, None if unknown; `first_rank` is the lowest."""
        self._record, self._first_rank = record, first_rank
        self._started: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()

    def take(self, started: list[subprocess.Popen[bytes]]) -> None:
        """Take the processes from Lightning's observer, which would kill this one too without a word; watch them."""
        self._started = list(started)
        started.clear()
        if self._started:
            threading.Thread(target=self._watch, daemon=True).start()

    def find_failure(self) -> str | None:
        """Wait for a process to fail; return which one and why, or None if that is not to be seen."""
        deadline = time.monotonic() + FAILURE_TIMEOUT
        while (failure := self._describe_failure()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return failure

    def end(self) -> None:
        """Wait for the processes to end, and kill those that do not."""
        self._over.set()
        deadline = time.monotonic() + END_TIMEOUT
        while any(process.poll() is None for process in self._started) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._kill()

    def _describe_failure(self) -> str | None:
        if self._record and (failure := describe_failure(self._record)) is not None:
            return failure
        codes = [(rank, process.poll()) for rank, process in enumerate(self._started, self._first_rank)]
        return next((describe_exit(rank, code) for rank, code in codes if code), None)

    def _watch(self) -> None:
        """End this process, whatever it waits for, if another one fails and this one does not notice."""
        while not any(process.poll() for process in self._started):
            if self._over.wait(POLL_SECONDS):
                return
        if self._over.wait(FAILURE_TIMEOUT):
            return
        log.error("error: %s", LostProcessError(self._describe_failure()))
        self._kill()
        Console(stderr=True).show_cursor()  # which a progress bar hides
        os._exit(LostProcessError.exit_code)

    def _kill(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether an error of PyTorch says that another process cannot be reached any more."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return any(word in str(error) for word in ("gloo", "Connection closed by peer", "Connection reset by peer"))


def share_folder(trainer: lightning.Trainer, folder: Path | None) -> Path | None:
    """Return the run folder that rank 0 gives, in every process; None if there is nothing to train.

    Joins the processes of several machines: Lightning uses the same process group. Raises ConfigError if the folder is
    not seen on this machine.
    """
    if trainer.world_size == 1:
        return folder
    if not torch.distributed.is_initialized():
        _join_processes(trainer)
    shared: list[Any] = [folder]
    torch.distributed.broadcast_object_list(shared)
    folder = shared[0]
    if folder is not None and not folder.is_dir():
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}: this machine does not see {folder}. Choose outputs=FOLDER on a "
            "file system that all machines share, by the same absolute path."
        )
    return folder


def get_cluster_environment(trainer: lightning.Trainer) -> ClusterEnvironment:
    """Return what Lightning knows of the processes: torchrun's, SLURM's or its own environment variables."""
    strategy: Any = trainer.strategy
    environment: ClusterEnvironment = strategy.cluster_environment
    return environment


def leave_processes() -> None:
    """Destroy the process group, which Lightning leaves open."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def end_with_parent() -> None:
    """End this process, whatever it waits for, as soon as the process that started it has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _join_processes(trainer: lightning.Trainer) -> None:
    environment, device = get_cluster_environment(trainer), trainer.strategy.root_device
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", rank=trainer.global_rank, world_size=trainer.world_size
    )


@contextmanager
def _restore_environment() -> Iterator[None]:
    """Restore the environment variables on exit, which Lightning's launcher sets."""
    previous = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(previous)
