"""The journals of a training, `losses.jsonl` and `validations.jsonl`, and who is told of its progress."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from codetool.errors import ConfigError
from codetool.runs import damaged_lines, journal
from codetool.runs.journal import Journal

LOSSES = "losses.jsonl"
VALIDATIONS = "validations.jsonl"


class ProgressObserver(Protocol):
    """An observer of the progress of training."""

    def updated(self, line: Mapping[str, float]) -> None:
        """Receive the record of a finished update, as written to `losses.jsonl`."""
        ...

    def validated(self, line: Mapping[str, float]) -> None:
        """Receive the record of a finished validation, as written to `validations.jsonl`."""
        ...

    def stopping(self) -> None:
        """Receive the notice that training ends after the current update because of a signal."""
        ...


class TrainingLog:
    """The journals of losses and validations of a run, written by the first process."""

    def __init__(self, folder: Path, done: int, observer: ProgressObserver, stack: ExitStack) -> None:
        """Open the journals, and remove the records of updates after `done`, the update of the last checkpoint."""
        for name in (LOSSES, VALIDATIONS):
            keep_latest_records(folder / name, done)
        self._losses, self._validations = (
            stack.enter_context(Journal(folder / name)) for name in (LOSSES, VALIDATIONS)
        )
        self._watch = observer

    def update(self, line: Mapping[str, float]) -> None:
        """Append the record of an update."""
        self._losses.append(line)
        self._watch.updated(line)

    def validation(self, line: Mapping[str, float]) -> None:
        """Append the record of a validation."""
        self._validations.append(line)
        self._watch.validated(line)


def keep_latest_records(file: Path, done: float = math.inf) -> None:
    """Remove the records of updates after `done`, and of several records of an update all but the last.

    Raises ConfigError for a damaged line, since an update is not made again to be recorded.
    """
    if message := damaged_lines.describe_damage(file, {"step": int}):
        raise ConfigError(f"{message} Restore the file from a copy, or train anew with fresh=true.")
    records = list(journal.read_records(file))
    latest = {record["step"]: record for record in records if record["step"] <= done}
    if len(latest) < len(records):
        journal.atomic_write(file, (journal.encode_record(latest[step]) for step in sorted(latest)))


def require_losses(folder: Path, done: int) -> None:
    """Raise ConfigError if a loss until update `done`, that of the last checkpoint, is missing."""
    file = folder / LOSSES
    if (recorded := sum(record["step"] <= done for record in journal.read_records(file))) < done:
        raise ConfigError(
            f"{file} holds {recorded} of the {done} losses until the last checkpoint. Restore the file from a copy, or "
            "train anew with fresh=true."
        )
