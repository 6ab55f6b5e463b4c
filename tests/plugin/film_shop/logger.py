"""Logger: the curves of a run as lines of a text file in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.tracking.run_content import RunContent, RunInfo

if TYPE_CHECKING:
    from pytorch_lightning.loggers import CSVLogger


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TickerConfig:
    """Settings of the logger."""

    file: str
    """Name of the file."""

    def start(self, run: RunInfo) -> Ticker:
        """Start to log a run."""
        return Ticker(run.folder, self.file)


class Ticker:
    """The file of one run."""

    def __init__(self, folder: Path, name: str) -> None:
        """`folder` is the run folder."""
        self._folder, self._file = folder, folder / name

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Append a line with the values."""
        self._write(f"{step} {dict(values)}")

    def finish(self, content: RunContent) -> None:
        """Append a last line."""
        self._write("finished")

    def stop(self, exit_code: int) -> None:
        """Append a last line."""
        self._write(f"stopped {exit_code}")

    def to_lightning(self) -> CSVLogger:
        """Return the logger of a training, which is one of Lightning's."""
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(self._folder, "ticker")

    def _write(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
