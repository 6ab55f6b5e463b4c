"""The Lightning logger that passes a training's metrics on to one of CodeTool's own loggers, such as W&B's."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

if TYPE_CHECKING:
    from codetool.tracking.run_loggers import RunLogger


class LightningRunLogger(Logger):
    """Lightning logger of a run whose service has a process of its own.

    The settings of the run are in its `config.yaml`, so that Lightning's hyperparameters are not logged again.
    """

    def __init__(self, run_logger: RunLogger, folder: Path, name: str) -> None:
        """`run_logger` receives the metrics; `folder` is the run folder, and `name` the name of the logger."""
        super().__init__()
        self._run_logger, self._folder, self._name = run_logger, folder, name

    @property
    def name(self) -> str:
        """Name of the logger."""
        return self._name

    @property
    def version(self) -> str:
        """Id of the run."""
        return self._folder.name

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> RunLogger:
        """The run logger, with a method `log(values, step)`; in other processes than the first it does nothing."""
        return self._run_logger

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics at a step; Lightning gives every point its update."""
        self._run_logger.log({name: float(value) for name, value in metrics.items()}, step or 0)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace | None = None, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the settings of the run are logged from its folder."""
