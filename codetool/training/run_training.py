"""Train in every process of a job: rank 0 repairs the run folder, and the others learn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from codetool.runs.write_errors import explain_write_errors
from codetool.training import processes
from codetool.training.checkpoint_files import LAST, count_updates, set_damaged_checkpoint_aside
from codetool.training.failed_process import FAILURE_FILE, LostProcessError, write_failure
from codetool.training.fit import fit
from codetool.training.module import DivergedError, MetricsFunction
from codetool.training.train_job import TrainJob
from codetool.training.trainer import build_trainer
from codetool.training.training_log import LOSSES, VALIDATIONS, ProgressObserver, keep_latest_records, require_losses

if TYPE_CHECKING:
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import Logger


def run_training(
    job: TrainJob, observer: ProgressObserver, measure: MetricsFunction | None, loggers: Sequence[Logger] = ()
) -> None:
    """Train in rank 0, with the other processes of the job.

    `loggers` are Lightning's. Raises the same errors as `fit`, and ConfigError for damaged journals.
    """
    with explain_write_errors(job.checkpoints):
        job.checkpoints.mkdir(exist_ok=True)
    set_damaged_checkpoint_aside(job.checkpoints / LAST)
    for name in (LOSSES, VALIDATIONS):
        keep_latest_records(job.folder / name)
    require_losses(job.folder, count_updates(job.checkpoints / LAST))
    (job.folder / FAILURE_FILE).unlink(missing_ok=True)  # of a training that this one continues

    def train() -> None:
        try:
            processes.share_folder(build_trainer(job.trainer), job.folder.resolve())
            fit(job, observer, measure, loggers)
        finally:
            processes.leave_processes()

    processes.launch(build_trainer(job.trainer), train, job.folder)


def join_training(job: TrainJob, measure: MetricsFunction | None) -> None:
    """Train in one of the ranks from 1 on; the job's folder is the one that rank 0 tells.

    Raises LostProcessError if another process has ended, unless that is the one that started this one and says why.
    """
    processes.end_with_parent()
    trainer, folder = build_trainer(job.trainer), None

    def train() -> None:
        nonlocal folder
        try:
            folder = processes.share_folder(build_trainer(job.trainer), None)
            if folder is not None:
                fit(replace(job, folder=folder), None, measure)
        except (KeyboardInterrupt, DivergedError):  # the processes have agreed to end
            pass
        finally:
            processes.leave_processes()

    try:
        processes.launch(trainer, train)
    except LostProcessError:
        if not isinstance(processes.get_cluster_environment(trainer), LightningEnvironment):
            raise
    except Exception as error:
        if folder is not None:
            write_failure(folder / FAILURE_FILE, error, trainer.global_rank)
        raise


def dismiss_processes(call: partial[Trainer]) -> None:
    """Tell the processes that were started beside rank 0 that there is nothing to train."""
    trainer = build_trainer(call)
    if trainer.world_size == 1:
        return
    if trainer.num_nodes > 1 or processes.get_cluster_environment(trainer).creates_processes_externally:
        try:
            processes.launch(trainer, lambda: _share_nothing(call))
        finally:
            processes.leave_processes()


def _share_nothing(call: partial[Trainer]) -> None:
    processes.share_folder(build_trainer(call), None)
