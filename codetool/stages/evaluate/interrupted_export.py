"""Export what a run has finished when Ctrl-C ends it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError
from codetool.evaluation.result_files import RESULTS
from codetool.types import Task

log = logging.getLogger(__name__)


@contextmanager
def export_if_interrupted(
    config: RunConfig, choices: Mapping[str, str], path: Path, tasks: Sequence[Task]
) -> Iterator[None]:
    """On KeyboardInterrupt, write the log for Inspect (`export=inspect`) of the tasks with a result, if there are any.

    The exports in other layouts have no place for a run that is not finished.
    """
    try:
        yield
    except KeyboardInterrupt:
        file = path / RESULTS
        if config.stage == "evaluate" and "inspect" in config.export and file.is_file() and file.stat().st_size:
            from codetool.stages.evaluate.inspect_export import export_inspect_log  # here: few runs need it

            try:
                log.info(
                    "log of the finished tasks: %s", export_inspect_log(config, choices, path, tasks, interrupted=True)
                )
            except (CodeToolError, OSError) as error:
                log.warning("export=inspect: no log of the finished tasks: %s", error)
        raise
