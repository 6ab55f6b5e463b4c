"""The processes of a training on one or several machines, and what rank 0 tells the others before Lightning runs.

Processes are started by torchrun, SLURM or another environment that Lightning knows, or by Lightning's own launcher,
which runs the command of rank 0 again. Every process runs the whole stage; only rank 0 makes folders and files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

from codetool.errors import CodeToolError, ConfigError

END_TIMEOUT = 10.0
"""Seconds that the processes which Lightning's launcher started have to end by themselves after the training."""


def launch(trainer: lightning.Trainer, function: Callable[[], None]) -> None:
    """Call a function in every process of the training, after Lightning's launcher has started those of this machine.

    Raises LostProcessError if the connection to another process breaks.
    """
    launcher: Any = trainer.strategy.launcher
    if trainer.world_size == 1 or launcher is None:
        function()
        return
    with _restore_environment():
        try:
            launcher.launch(function, trainer=trainer)
        except RuntimeError as error:
            if not _is_lost_connection(error):
                raise
            raise LostProcessError() from error
        finally:
            started = list(launcher.procs)
            launcher.procs.clear()  # so that Lightning does not end this process too when one of them ends
            _end_processes(started)


class LostProcessError(CodeToolError):
    """Another process of the training has ended before its time."""

    def __init__(self) -> None:
        """Build the message."""
        super().__init__(
            "Another process of the training has ended; what it said is in its output. The same command continues from "
            "the last checkpoint."
        )


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


def _end_processes(started: list[Any]) -> None:
    """Wait for processes to end, and kill those that do not."""
    deadline = time.monotonic() + END_TIMEOUT
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in started:
        process.kill()
        process.wait()
