"""Hydra plug-in: the sweepers that run the cells of `-m`, `hydra/sweeper=basic` and `hydra/sweeper=optuna`.

Hydra imports every module of `hydra_plugins` whenever it starts, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

CreateLauncher = Callable[[TaskFunction], Launcher]
"""Creates the launcher that `hydra/launcher=` chooses, for the function that it is to run."""


class CodeToolSweeper(Sweeper):
    """Hands a multirun to its task function, `codetool.sweeps.sweep.Sweep`, which knows the cells.

    Hydra composes `config` from Hydra's own settings alone; each cell composes its configuration where it runs.
    """

    def __init__(self, **settings: Any) -> None:
        """`settings` are those of `hydra.sweeper`."""
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store what the launcher needs."""
        self.hydra_context, self.config, self._sweep = hydra_context, config, task_function

    def sweep(self, arguments: Sequence[str]) -> Any:
        """Run all cells. `arguments` are not used: the task function has those of the whole command line."""
        run: Callable[[dict[str, Any], CreateLauncher, DictConfig], Any] = getattr(self._sweep, "run")  # noqa: B009
        assert self.config is not None
        return run(self.settings, self._create_launcher, self.config)

    def _create_launcher(self, task_function: TaskFunction) -> Launcher:
        assert self.hydra_context is not None and self.config is not None
        return Plugins.instance().instantiate_launcher(self.hydra_context, task_function, self.config)
