"""Run cells with the launcher that `hydra/launcher=` chooses, and read their outcomes."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from codetool.errors import ConfigError
from codetool.runs import journal
from codetool.runs.worker_reaper import end_workers_if_killed
from codetool.sweeps.cell import OUTCOMES_FILE, PLAN_FILE, CellOutcome, run_cell
from codetool.sweeps.grid import GridCell
from codetool.sweeps.submitit_jobs import JOBS_FOLDER, interrupt_jobs, list_jobs, wait_for_jobs

CreateLauncher = Callable[[TaskFunction], Launcher]
"""Creates the launcher that `hydra/launcher=` chooses, for the function that it is to run."""
QUIET_TRACKER = "ignore:resource_tracker:UserWarning"
"""Warning filter for joblib's resource tracker, which would report the files of a stopped sweep."""
MARK_VARIABLE = "CODETOOL_SWEEP"
"""Environment variable that holds the mark of the sweep that a worker belongs to."""
DIED = "its process ended before it was done. The same command continues."


def read_count(settings: Mapping[str, Any], name: str) -> int:
    """Return a setting of `hydra.sweeper` that counts something. Raises ConfigError unless it is 1 or more."""
    count = settings[name]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(f"hydra.sweeper.{name}={count}: should be a whole number above 0.")
    return count


def list_joblib_files() -> list[str]:
    """Return patterns of what joblib makes for this process: semaphores, and folders for large arguments."""
    sweep = os.getpid()
    return [f"/dev/shm/sem.loky-{sweep}-*", f"{tempfile.gettempdir()}/joblib_memmapping_folder_{sweep}_*"]


def _shorten(message: str) -> str:
    """Return the first sentence of a launcher's message, which can be a page long."""
    return " ".join(message.split()).partition(". ")[0][:200]


class CellLauncher:
    """Runs the cells of a sweep, all at once or in several batches."""

    def __init__(
        self,
        name: str,
        folder: Path,
        flags: Sequence[str],
        create_launcher: CreateLauncher,
        config: DictConfig,
    ) -> None:
        """`name` is the sweep's, `config` has Hydra's settings, and `flags` may add folders of options."""
        self._folder, self._config, self._create_launcher = folder, config, create_launcher
        self._plan: dict[str, Any] = {
            "name": name,
            "parent": [os.getpid(), socket.gethostname()],
            "flags": list(flags),
            "labels": [],
            "overrides": [],
        }

    def describe_logs(self) -> str:
        """Return where the cells print, as the end of a sentence; empty if they print on this terminal."""
        in_jobs = "submitit_folder" in self._config.hydra.launcher
        return f"; what each job prints is in {self._folder / JOBS_FOLDER}" if in_jobs else ""

    @contextmanager
    def open(self, count: int, objectives: Sequence[str]) -> Iterator[None]:
        """Prepare the sweep's folder for up to `count` cells, whose metrics in `objectives` are returned to Hydra."""
        self._plan |= {"cells": count, "objectives": list(objectives)}
        (self._folder / OUTCOMES_FILE).unlink(missing_ok=True)
        self._limit_workers(count)
        os.environ.setdefault("PYTHONWARNINGS", QUIET_TRACKER)
        try:
            self._launcher = self._create_launcher(run_cell)
        except Exception as error:  # settings that the launcher does not take
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"hydra.launcher: cannot be started: {reason}") from error
        with end_workers_if_killed(MARK_VARIABLE, list_joblib_files()):
            yield
        for name in (PLAN_FILE, OUTCOMES_FILE):
            (self._folder / name).unlink(missing_ok=True)

    def launch(self, cells: Sequence[GridCell], batch_size: int | None = None) -> list[CellOutcome]:
        """Run further cells and return their outcomes, in order. The launcher gets up to `batch_size` at a time."""
        size = batch_size or max(len(cells), 1)
        batches = [cells[start : start + size] for start in range(0, len(cells), size)]
        return [outcome for batch in batches for outcome in self._launch_batch(batch)]

    def _launch_batch(self, cells: Sequence[GridCell]) -> list[CellOutcome]:
        first = len(self._plan["labels"])
        self._plan["labels"] += [cell.label for cell in cells]
        self._plan["overrides"] += [list(cell.overrides) for cell in cells]
        journal.atomic_write(self._folder / PLAN_FILE, [json.dumps(self._plan).encode() + b"\n"])
        reason, earlier_jobs = DIED, list_jobs(self._folder)
        try:
            self._launcher.launch([[] for _ in cells], initial_job_idx=first)
        except KeyboardInterrupt:
            interrupt_jobs(list_jobs(self._folder) - earlier_jobs)
            raise
        except Exception as error:  # of the launcher; errors of a cell are in its outcome
            reason = f"{DIED} ({type(error).__name__}: {_shorten(str(error))})"
            wait_for_jobs(list_jobs(self._folder) - earlier_jobs, str(self._config.hydra.launcher._target_))
        outcomes = self._read_outcomes()
        return [
            outcomes.get(number) or CellOutcome(number, error=reason) for number in range(first, first + len(cells))
        ]

    def _read_outcomes(self) -> dict[int, CellOutcome]:
        file = self._folder / OUTCOMES_FILE
        lines = journal.read_records(file) if file.is_file() else ()
        return {line["number"]: CellOutcome(**line) for line in lines}

    def _limit_workers(self, count: int) -> None:
        """Give joblib at most one process per cell, since each reserves a share of the CPU, and one cell at a time."""
        launcher = self._config.hydra.launcher
        if "n_jobs" not in launcher:
            return
        with suppress(ImportError):
            from joblib import effective_n_jobs

            try:
                launcher.n_jobs = min(int(effective_n_jobs(launcher.n_jobs)), count)
            except ValueError as error:
                raise ConfigError(
                    f"hydra.launcher.n_jobs={launcher.n_jobs}: a number of processes, or -1 for one a core."
                ) from error
            OmegaConf.update(launcher, "batch_size", "1")  # otherwise a worker gets several quick cells at a time
