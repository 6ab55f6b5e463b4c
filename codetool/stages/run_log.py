"""Write the log of a run to `log.txt` of its folder, and its warnings to the console too."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from codetool.credentials.masking import mask_text
from codetool.errors import CodeToolError
from codetool.runs.write_errors import explain_write_errors

TASK_LOG = "codetool.stages.evaluate.evaluate.task"
"""Logger of the errors of single tasks. They go to `log.txt` and the summary, but not to the console's progress."""

log = logging.getLogger("codetool")


class _MaskingFormatter(logging.Formatter):
    """Formats messages and tracebacks without the secrets of the environment."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))


class _ConsoleHandler(logging.Handler):
    """Prints log messages through rich, above the progress bar, and without tracebacks."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        colour = "yellow" if record.levelno >= logging.WARNING else None
        self._console.print(mask_text(record.getMessage()), style=colour, markup=False, highlight=False, soft_wrap=True)


class _LogFileHandler(logging.FileHandler):
    """Writes the log of a run as far as the disk takes it: a full disk ends a run by its records, not by its log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Drop the message if the file cannot be written; any other error is handled as usual."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, with whatever part of the last message it has taken."""
        with suppress(OSError):
            super().close()


def choose_level(sweep: str | None) -> int:
    """Return the level of the messages that the console shows: in a cell of a sweep, warnings alone."""
    return logging.INFO if sweep is None else logging.WARNING


@contextmanager
def log_to_file(file: Path, console: Console, level: int) -> Iterator[None]:
    """Write CodeTool's log to `file` while the context is open, and messages of at least `level` to the console."""
    to_console = _ConsoleHandler(console)
    to_console.setLevel(level)
    to_console.addFilter(lambda record: record.name != TASK_LOG)
    with explain_write_errors(file):
        handlers: list[logging.Handler] = [_LogFileHandler(file, encoding="utf-8"), to_console]
    handlers[0].setFormatter(_MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log.setLevel(logging.INFO)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    except Exception as error:  # the caller prints it; the file has to hold it too
        expected = isinstance(error, CodeToolError | OSError)
        information = None if expected else (type(error), error, error.__traceback__)
        message = f"stopped: {type(error).__name__}: {error}"
        handlers[0].handle(log.makeRecord(log.name, logging.ERROR, "", 0, message, (), information))
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
