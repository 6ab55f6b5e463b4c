"""The option `logger=tensorboard`: the curves of a run as TensorBoard events in its folder, `tensorboard/`.

A training writes them with Lightning's TensorBoardLogger, the other stages with TensorBoard's own writer, which needs
neither PyTorch nor TensorFlow. TensorBoard is an extra, `pip install 'codetool[tensorboard]'`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from codetool.tracking.run_content import RunContent, RunInfo

if TYPE_CHECKING:
    from pytorch_lightning.loggers import TensorBoardLogger

FOLDER_NAME = "tensorboard"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TensorBoardEventLogger:
    """Settings of `logger=tensorboard`."""

    flush_secs: Annotated[int, Field(ge=1)]
    """Seconds after which a training's points are written at the latest."""

    @model_validator(mode="after")
    def _require_tensorboard(self) -> TensorBoardEventLogger:
        if find_spec("tensorboard") is None:
            raise ValueError(
                "logger=tensorboard: TensorBoard is not installed. pip install 'codetool[tensorboard]', or choose "
                "logger=csv"
            )
        return self

    def start(self, run: RunInfo) -> TensorBoardRun:
        """Start to log a run; nothing is written before its first point."""
        return TensorBoardRun(run.folder, self.flush_secs)


class TensorBoardRun:
    """The events of one run. A resumed run adds a file to its folder, and TensorBoard joins the curves."""

    def __init__(self, folder: Path, flush_secs: int) -> None:
        """`folder` is the run folder; `flush_secs` is the maximum age in seconds of unwritten points in a training."""
        self._folder, self._flush_secs = folder, flush_secs
        self._writer: Any = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write each value as a scalar."""
        if self._writer is None:
            from tensorboard.summary import Writer

            self._writer = Writer(str(self._folder / FOLDER_NAME))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # points are seconds apart

    def finish(self, content: RunContent) -> None:
        """Close the file. The result is in `metrics.json`."""
        self.stop(0)

    def stop(self, exit_code: int) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def to_lightning(self) -> TensorBoardLogger:
        """Return Lightning's TensorBoardLogger for the run folder."""
        from pytorch_lightning.loggers import TensorBoardLogger

        return TensorBoardLogger(self._folder, name=None, version=FOLDER_NAME, flush_secs=self._flush_secs)
