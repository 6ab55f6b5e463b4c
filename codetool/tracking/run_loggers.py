"""The loggers of a run: every option of `logger=` that the run has chosen, started together and told the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from codetool.errors import CodeToolError
from codetool.interfaces import LightningLogger, LoggerOption
from codetool.tracking.lightning_run import LightningRun
from codetool.tracking.run_content import RunContent, RunInfo, SyncStatus

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

log = logging.getLogger(__name__)

LoggerOptions = Mapping[str, LoggerOption | LightningLogger]
"""The chosen loggers by name: options of this package, and Lightning's loggers."""

INTERRUPTED = 255
"""Exit code of a run that was interrupted, which W&B shows as killed."""
FAILED = 1


class RunLogger(Protocol):
    """Logger of one run. None of its methods blocks for long, and a problem of the service is no exception."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of curves at a step. Steps ascend."""
        ...

    def finish(self, content: RunContent) -> SyncStatus | None:
        """Log the result and end. Returns what to tell the user, None if there is nothing to tell."""
        ...

    def stop(self, exit_code: int) -> None:
        """End without a result; what was logged is kept."""
        ...

    def to_lightning(self) -> Logger:
        """Return the Lightning logger through which a training logs its curves."""
        ...


class RunLoggers:
    """All loggers of one run."""

    def __init__(self, loggers: Mapping[str, RunLogger]) -> None:
        """Store the loggers by the name of their option."""
        self._loggers = dict(loggers)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of curves at a step. Steps ascend."""
        for name in list(self._loggers):
            self._call(name, lambda logger: logger.log(values, step))

    def finish(self, content: RunContent) -> SyncStatus | None:
        """Log the result and end every logger. Returns what the user should know about the upload, if any."""
        statuses = [self._call(name, lambda logger: logger.finish(content)) for name in list(self._loggers)]
        self._loggers.clear()
        return next((status for status in statuses if status is not None), None)

    def stop(self, exit_code: int) -> None:
        """End every logger that has not finished, without a result."""
        for name in list(self._loggers):
            self._call(name, lambda logger: logger.stop(exit_code))
        self._loggers.clear()

    def to_lightning(self) -> list[Logger]:
        """Return the Lightning loggers of a training, for `Trainer(logger=...)`."""
        return [logger.to_lightning() for logger in self._loggers.values()]

    def _call(self, name: str, action: Callable[[RunLogger], Any]) -> Any:
        """Call a logger. If it fails, say so in one line and leave it out from then on: it must not fail the run."""
        try:
            return action(self._loggers[name])
        except Exception as error:
            log.warning("logger=%s: logs nothing more (%s: %s).", name, type(error).__name__, error)
            log.debug("logger=%s", name, exc_info=True)
            del self._loggers[name]
            return None


def _start(name: str, option: LoggerOption | LightningLogger, run: RunInfo) -> RunLogger | None:
    """Start a logger. If it fails, say so in one line and return None: it must not fail the run."""
    if not hasattr(option, "start"):
        return LightningRun(option, run)
    try:
        logger: RunLogger = option.start(run)
    except CodeToolError:
        raise
    except Exception as error:
        log.warning("logger=%s: logs nothing (%s: %s).", name, type(error).__name__, error)
        log.debug("logger=%s", name, exc_info=True)
        return None
    return logger


@contextmanager
def start_run_loggers(options: LoggerOptions, run: RunInfo) -> Iterator[RunLoggers]:
    """Start the loggers of a run and yield them. They end with the context, with an exit code if it is left early.

    `options` are the chosen options by name, `RunConfig.logger`; none of them starts none. Only the first process of a
    run may call this.
    """
    loggers = RunLoggers({name: logger for name, option in options.items() if (logger := _start(name, option, run))})
    try:
        yield loggers
    except KeyboardInterrupt:
        loggers.stop(INTERRUPTED)
        raise
    except BaseException:
        loggers.stop(FAILED)
        raise
    else:
        loggers.stop(0)
