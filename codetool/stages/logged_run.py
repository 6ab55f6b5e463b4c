"""Describe a run to its loggers: its name and tags, and the files that it makes and uses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.process_data.examples import PROCESS_FILE
from codetool.process_data.transcripts import TRANSCRIPTS_FILE
from codetool.runs.provenance import PROVENANCE_FILE
from codetool.tracking.run_content import ArtifactFiles, RunContent, RunInfo, SyncStatus
from codetool.tracking.run_loggers import RunLoggers, start_run_loggers

log = logging.getLogger(__name__)

TRAINING_AXIS, TASK_AXIS = "trainer/global_step", "tasks/done"
NAMED_GROUPS = ("search", "policy", "prm", "reward")
"""Groups whose option is part of the name of a search."""
NAMED_NUMBERS = ("n", "width", "depth")
"""Settings of a search that are part of its name and tags."""
MAX_NAME_CHARS, MAX_TAG_CHARS = 128, 64
"""Limits of W&B."""


def describe_search(
    config: RunConfig,
    choices: Mapping[str, str],
    folder: Path,
    tags: Sequence[str],
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
) -> RunInfo:
    """Describe a run of stage=evaluate or stage=collect; `sweep` and `label` name a sweep and its cell."""
    numbers = {name: getattr(config.search, name) for name in NAMED_NUMBERS if hasattr(config.search, name)}
    shown = {*NAMED_GROUPS, *(f"search.{name}" for name in numbers)}
    swept = [part for part in label.split(" ") if part.partition("=")[0] not in shown]
    words = [
        *(f"{group}={choices[group]}" for group in NAMED_GROUPS),
        *(f"{n}={value}" for n, value in numbers.items()),
    ]
    return RunInfo(
        folder,
        sweep or _get_experiment(choices),
        config.stage,
        [tag[:MAX_TAG_CHARS] for tag in dict.fromkeys([*tags, *words, *filter(None, swept)])],
        " ".join([*words, *swept]).strip()[:MAX_NAME_CHARS],
        choices,
        axis=TASK_AXIS,
        upload=upload,
    )


def _get_experiment(choices: Mapping[str, str]) -> str | None:
    return choices["experiment"] if choices["experiment"] != "none" else None


@contextmanager
def start_stage_loggers(
    config: RunConfig,
    choices: Mapping[str, str],
    folder: Path,
    tags: Sequence[str],
    axis: str = TASK_AXIS,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
) -> Iterator[RunLoggers]:
    """Start the loggers of a stage's run and yield them; they end with the context.

    `sweep` and `label` name a sweep and its cell.
    """
    swept = label.split()
    run = RunInfo(
        folder,
        sweep or _get_experiment(choices),
        config.stage,
        [tag[:MAX_TAG_CHARS] for tag in dict.fromkeys([*tags, *swept])],
        " ".join([*tags, *swept])[:MAX_NAME_CHARS] if swept else None,
        choices,
        axis=axis,
        upload=upload,
    )
    with start_run_loggers(config.logger, run) as loggers:
        yield loggers


def log_result(loggers: RunLoggers, content: RunContent, *, quiet: bool = False) -> SyncStatus | None:
    """Log a result and end the loggers. Reports the outcome of an upload in the log, unless `quiet`."""
    status = loggers.finish(content)
    if status and not quiet:
        log.log(logging.WARNING if status.is_warning else logging.INFO, status.message)
    return status


def describe_report(folder: Path) -> ArtifactFiles:
    """Describe the report of a run folder."""
    return ArtifactFiles(
        _name_artifact("report", folder), "report", {"report.html": folder / "report.html"}, changes=True
    )


def describe_process_data(source: Path, *, is_input: bool = False) -> ArtifactFiles:
    """Describe process data: those of a run folder of stage=collect, or a file from elsewhere."""
    folder = find_run_folder(source)
    files = [folder / name for name in (PROCESS_FILE, TRANSCRIPTS_FILE)] if folder else [source]
    name = _name_artifact("process-data", folder or source)
    return ArtifactFiles(name, "process-data", {file.name: file for file in files}, is_input)


def describe_adapter(adapter: Path, *, is_input: bool = False) -> ArtifactFiles:
    """Describe an adapter: that of a run folder of stage=train, or one from elsewhere."""
    name = _name_artifact("adapter", find_run_folder(adapter) or adapter)
    return ArtifactFiles(name, "model", {"adapter": adapter}, is_input)


def describe_used_adapters(*options: Any) -> Iterator[ArtifactFiles]:
    """Describe the adapters that a run uses; `options` are its policy and its PRM. Full models are left out."""
    for option in options:
        path = getattr(option, "path", None)
        if isinstance(path, Path) and (path / "adapter_config.json").is_file():
            yield describe_adapter(path, is_input=True)


def find_run_folder(path: Path) -> Path | None:
    """Find the run folder that holds a file or folder, or is it; None if there is none."""
    nearest = (path, path.parent)
    return next((folder for folder in nearest if (folder / PROVENANCE_FILE).is_file()), None)


def _name_artifact(kind: str, path: Path) -> str:
    """Name an artifact after a run folder, whose name ends with the digest of its settings, or another path."""
    text = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in path.name
    )
    return f"{kind}-{text[-(MAX_NAME_CHARS - len(kind) - 1) :]}"
