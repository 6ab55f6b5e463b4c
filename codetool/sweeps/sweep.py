"""Run a sweep (`-m`): run every cell with Hydra's launcher, then write one table and the figures.

The cells of a grid are checked before the first one runs. Each cell composes its configuration where it runs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig
from rich.console import Console

from codetool.config.config_sources import CONF, initialize_hydra, parse_added_folders
from codetool.config.override_errors import get_key
from codetool.config.overrides import check_grid, is_hydra_override
from codetool.config.run_config import RunConfig
from codetool.config.stage_chain import parse_chain, select_overrides
from codetool.config.sweeper_params import read_sweeper, select_hydra_overrides
from codetool.errors import ConfigError
from codetool.models.server_pool import keep_servers
from codetool.runs.identity import find_marked_settings
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.load_stages import RESULT_STAGES
from codetool.stages.run_folder import LOCK_FILE, check_outputs_folder, lock_file
from codetool.stages.shards.run_shards import refuse_shard
from codetool.sweeps.cell import TRACEBACKS_FILE, CellOutcome
from codetool.sweeps.expected_costs import print_expected_costs
from codetool.sweeps.figures import draw_figures
from codetool.sweeps.grid import GridCell, check_constant_options, expand_grid, name_sweep
from codetool.sweeps.launching import CellLauncher, CreateLauncher, read_count
from codetool.sweeps.logged_sweep import log_sweep
from codetool.sweeps.table import print_table, write_csv

ASKING_STAGES = ("evaluate", "evaluate_prm")
"""Stages that ask models and train none."""
NO_SHARD = (
    "leave it out with -m, which compares whole results. Start each shard by a command of its own, as the tasks of "
    "sbatch --array; hydra/launcher= divides the cells of a sweep among machines"
)
WIDTH = 160
"""Width in characters of a table that goes to a file or a pipe."""


@dataclass
class Sweep:
    """A multirun. Hydra takes it for the function to run, and CodeTool's sweeper calls `run`."""

    name: str
    folder: Path
    overrides: Sequence[str]
    flags: Sequence[str]
    """Flags that add folders of options."""
    settings: RunConfig
    """Settings of the first cell; in a chain, of its last stage, whose results are compared."""
    outcomes: Sequence[CellOutcome] = field(default_factory=list)
    error: Exception | None = None
    """What ended the sweep before its table; Hydra would print a traceback of it."""

    def __call__(self, config: DictConfig) -> None:
        """Raise TypeError: the cells are run by `codetool.sweeps.cell.run_cell`."""
        raise TypeError("a sweep is run by its sweeper")

    def run(self, settings: Mapping[str, Any], create_launcher: CreateLauncher, config: DictConfig) -> None:
        """Run all cells, and write the table and the figures. `settings` are those of `hydra.sweeper`."""
        try:
            launcher = CellLauncher(self.name, self.folder, self.flags, create_launcher, config)
            with self._keep_servers():
                if "sampler" in settings:
                    self._search(settings, launcher)
                else:
                    self._run_grid(settings, launcher)
        except Exception as error:  # raised again once Hydra has returned
            self.error = error

    def _keep_servers(self) -> AbstractContextManager[None]:
        """Keep the vLLM servers between cells that run in this process, unless a cell trains on their GPUs."""
        only_asks = self.settings.stage in ASKING_STAGES and not parse_chain(self.overrides)
        return keep_servers() if only_asks else nullcontext()

    def _run_grid(self, settings: Mapping[str, Any], launcher: CellLauncher) -> None:
        grid = expand_grid(self.overrides)
        batch_size = settings["max_batch_size"] and read_count(settings, "max_batch_size")
        _print_line(f"sweep {self.name}: {len(grid)} cell{'s' if len(grid) > 1 else ''}{launcher.describe_logs()}")
        with launcher.open(len(grid), objectives=[]):
            self.outcomes = launcher.launch(grid, batch_size)
        if not self.settings.dry_run:
            _conclude(self.folder, grid, self.outcomes, self.settings)
        else:
            print_expected_costs(grid, self.outcomes, Console() if sys.stdout.isatty() else Console(width=WIDTH))

    def _search(self, settings: Mapping[str, Any], launcher: CellLauncher) -> None:
        from codetool.sweeps.optuna_search import Objectives, search_cells, write_best

        objectives = Objectives.from_settings(settings, self.settings.stage)
        goals = " and ".join(
            f"{direction} {name}" for name, direction in zip(objectives.names, objectives.directions, strict=True)
        )
        _print_line(
            f"sweep {self.name}: {settings['n_trials']} cells drawn by Optuna to {goals}{launcher.describe_logs()}"
        )
        with launcher.open(read_count(settings, "n_trials"), objectives.names):
            cells, self.outcomes, study = search_cells(self.overrides, settings, objectives, launcher, self.name)
        if not self.settings.dry_run:
            _conclude(self.folder, cells, self.outcomes, self.settings)
            for line in write_best(self.folder, study, objectives, self.outcomes):
                Console(width=WIDTH).print(line, markup=False, highlight=False, soft_wrap=True)


def run_sweep(overrides: Sequence[str], flags: Sequence[str] = (), on_start: Callable[[], None] = lambda: None) -> int:
    """Check and run a multirun, and return the number of cells that failed.

    `flags` may add folders of options; `on_start` is called when all is checked. Raises ConfigError for everything that
    is wrong with the overrides, for an option that cannot vary, a stage that cannot be swept, and a running sweep.
    """
    sweeper, overrides = read_sweeper(overrides, flags)
    checked = check_cells(overrides, flags)
    first = checked[-1]
    check_outputs_folder(first.outputs)
    for settings in checked:
        refuse_shard(settings, NO_SHARD)
    marks = {name: mark for each in checked for name, mark in find_marked_settings(each.settings, RunConfig).items()}
    with initialize_hydra(parse_added_folders(flags, overrides)):
        check_constant_options(overrides)
        name = name_sweep(overrides, _find_experiment(overrides), marks)
        name = name if sweeper == "grid" else f"{sweeper}-{name}"
        hydra_overrides = select_hydra_overrides(overrides)
    with ExitStack() as stack:
        folder = _create_scratch_folder(stack) if first.dry_run else first.outputs / "sweeps" / name
        if not first.dry_run:
            _lock(folder, stack)
        sweep = Sweep(name, folder, overrides, flags, first)
        on_start()
        _run_hydra(sweep, hydra_overrides)
        if sweep.error is not None:
            raise sweep.error
    return sum(outcome.error is not None or outcome.failed > 0 for outcome in sweep.outcomes)


def check_cells(overrides: Sequence[str], flags: Sequence[str]) -> list[RunConfig]:
    """Check the cells, and return the settings of each stage of the first one. Raises ConfigError."""
    stages = parse_chain(overrides)
    if not stages:
        first = check_grid(overrides, flags)
        if first.stage not in RESULT_STAGES:
            raise ConfigError(f"stage={first.stage}: -m runs stage={', '.join(RESULT_STAGES)} only.")
        return [first]
    with initialize_hydra(parse_added_folders(flags, [each for each in overrides if is_hydra_override(each)])):
        selected = select_overrides(overrides, stages)
    return [check_grid(each, flags, seconds=0.5) for each in selected.values()]


def _run_hydra(sweep: Sweep, hydra_overrides: Sequence[str]) -> None:
    """Let Hydra run a sweep with its own settings alone."""
    quoted = str(sweep.folder).replace("\\", "\\\\").replace("'", "\\'")
    program, arguments = sys.argv[0], sys.argv[1:]
    sys.argv[1:] = ["-m", *sweep.flags, *hydra_overrides, f"hydra.sweep.dir='{quoted}'"]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(sweep)()
    finally:
        sys.argv[:] = [program, *arguments]


def _print_line(line: str) -> None:
    Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def _find_experiment(overrides: Sequence[str]) -> str | None:
    chosen = [override.split("=", 1)[1] for override in overrides if get_key(override) == "experiment"]
    return chosen[-1] if chosen and chosen[-1] not in ("none", "null") and "," not in chosen[-1] else None


def _create_scratch_folder(stack: ExitStack) -> Path:
    """Return a temporary folder for a dry run, removed with the stack unless it holds a traceback."""
    folder = Path(tempfile.mkdtemp(prefix="codetool-sweep-"))

    def remove() -> None:
        if not (folder / TRACEBACKS_FILE).exists():
            shutil.rmtree(folder)

    stack.callback(remove)
    return folder


def _lock(folder: Path, stack: ExitStack) -> None:
    """Lock the sweep's folder, since another grid of the same name has another plan."""
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = stack.enter_context((folder / LOCK_FILE).open("a+"))
    if (holder := lock_file(file, wait=False)) is not None:
        raise ConfigError(f"sweep {folder.name} is running ({holder}): {folder}. Wait for it, or give outputs=FOLDER.")


def _conclude(folder: Path, grid: Sequence[GridCell], outcomes: Sequence[CellOutcome], settings: RunConfig) -> None:
    """Write and print the table, draw the figures, and log the sweep."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    write_csv(folder / "cells.csv", grid, outcomes)
    print_table(grid, outcomes, console)
    figures = draw_figures(folder, grid, outcomes, settings.figures)
    names = ", ".join(["cells.csv", *(figure.name for figure in figures)])
    console.print(f"files in {folder}: {names}", markup=False, highlight=False, soft_wrap=True)
    if line := log_sweep(folder, grid, outcomes, figures, settings.logger):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
