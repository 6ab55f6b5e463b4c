"""A logger of Lightning, or one derived from it, as the logger of a run of any stage.

# @package logger.mlflow
_target_: pytorch_lightning.loggers.MLFlowLogger
experiment_name: codetool
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from codetool.interfaces import LightningLogger
from codetool.tracking.run_config_values import get_run_config
from codetool.tracking.run_content import RunContent, RunInfo

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


class LightningRun:
    """The run of a Lightning logger, which is told the settings, the curves and the final values."""

    def __init__(self, logger: LightningLogger, run: RunInfo) -> None:
        """`logger` is Lightning's; `run` is the run that it logs."""
        self._logger, self._run = logger, run
        self._last_step: int | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values at a step."""
        self._last_step = step
        self._logger.log_metrics(dict(values), step)

    def finish(self, content: RunContent) -> None:
        """Log the settings of the run and the final values, and end."""
        settings = get_run_config(self._run).items()
        self._logger.log_hyperparams({name: value for name, value in settings if not isinstance(value, list)})
        self._logger.log_metrics(dict(content.values), self._last_step)
        self._logger.finalize("success")

    def stop(self, exit_code: int) -> None:
        """End without a result."""
        self._logger.finalize("failed" if exit_code else "success")

    def to_lightning(self) -> Logger:
        """Return the logger."""
        return cast("Logger", self._logger)
