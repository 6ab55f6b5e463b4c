"""The option `logger=csv`: the curves of a run as a CSV file in its folder, `csv/version_N/metrics.csv`.

A training writes it with Lightning's CSVLogger. The other stages write the same columns in the same place here, because
importing Lightning takes seconds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.runs import journal
from codetool.tracking.run_content import RunContent, RunInfo

if TYPE_CHECKING:
    from pytorch_lightning.loggers import CSVLogger

FOLDER_NAME = "csv"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CSVFileLogger:
    """Settings of `logger=csv`."""

    flush_logs_every_n_steps: Annotated[int, Field(ge=1)]
    """Points between two writes of the file in a training."""

    def start(self, run: RunInfo) -> CSVFileRun:
        """Start to log a run; nothing is written before its first point."""
        return CSVFileRun(run.folder, self.flush_logs_every_n_steps)


class CSVFileRun:
    """The CSV file of one run, or of one resumption of it."""

    def __init__(self, folder: Path, flush_every: int) -> None:
        """`folder` is the run folder; `flush_every` is the number of points after which Lightning writes the file."""
        self._folder, self._flush_every = folder, flush_every
        self._columns: list[str] = []
        self._file: Path | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Append a line with the values. A name that is new adds a column, for which the file is written again."""
        file = self._file = self._file or self._create_folder() / "metrics.csv"
        row = {**values, "step": step}
        if new_names := sorted(row.keys() - set(self._columns)):
            lines = _read_rows(file)
            self._columns += new_names
            journal.atomic_write(file, [_format_rows(self._columns, [*lines, row], header=True).encode()])
            return
        with file.open("a", encoding="utf-8", newline="") as opened:
            opened.write(_format_rows(self._columns, [row], header=False))

    def finish(self, content: RunContent) -> None:
        """Do nothing: the result is in `metrics.json`."""

    def stop(self, exit_code: int) -> None:
        """Do nothing: every line is written."""

    def to_lightning(self) -> CSVLogger:
        """Return Lightning's CSVLogger for the run folder."""
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(self._folder, FOLDER_NAME, flush_logs_every_n_steps=self._flush_every)

    def _create_folder(self) -> Path:
        """Create the next `version_N`, as Lightning numbers them."""
        parent = self._folder / FOLDER_NAME
        numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
        folder = parent / f"version_{max(numbers, default=-1) + 1}"
        folder.mkdir(parents=True)
        return folder


def _read_rows(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _format_rows(columns: list[str], rows: list[dict[str, str] | dict[str, float]], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
