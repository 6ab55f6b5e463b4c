"""Describe a dashboard to the subprocess that builds its W&B workspace and report, and save both with the figures."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codetool.evaluation.metric_format import format_metric
from codetool.runs.journal import atomic_write
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.dashboard.html_page import Figure
from codetool.stages.dashboard.settings import DashboardConfig
from codetool.stages.dashboard.sweep_charts import are_numbers
from codetool.stages.dashboard.sweep_results import SweepResults
from codetool.stages.logged_run import describe_report
from codetool.tracking.run_content import ArtifactFiles, RunContent, RunInfo, SyncStatus
from codetool.tracking.wandb import WandBLogger
from codetool.tracking.wandb_process import WandbProcess
from codetool.tracking.wandb_server import WandbError, check_server, find_api_key

SPECIFICATION_FILE, SAVED_FILE = "workspace.json", "saved.json"
EXTRA = "pip install 'codetool[dashboard]'"
JOB_TYPE = "dashboard"
BUILD_SECONDS = 60.0
"""Timeout of building a workspace without a network, which takes about two seconds."""
NO_SWEEP_NUMBERS = ("search/width", "search/n", "search/depth")
NO_SWEEP_WORDS = ("search", "policy", "prm", "reward")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DashboardRequest:
    """What the subprocess builds a workspace and a report from."""

    project: str
    entity: str | None
    name: str
    group: str | None
    """Sweep, the group of its runs; None for all runs of the project."""
    metric: str
    words: Sequence[str]
    """Keys in the configuration of the runs whose values are words, by which runs are grouped."""
    numbers: Sequence[str]
    """Keys in the configuration of the runs whose values are numbers."""
    figures: Sequence[str] = ()
    runs: Sequence[Mapping[str, str]] = ()
    """Label, result, id and name of the report's artifact of the run of each cell."""
    summary: str = ""
    description: str = ""
    save: bool = False
    saved: Mapping[str, str] = field(default_factory=dict)
    """What an earlier command has saved, which is replaced."""


def describe_project(settings: DashboardConfig) -> DashboardRequest:
    """Return the request for all runs of a project."""
    project = str(settings.project)
    return DashboardRequest(
        project,
        settings.entity,
        f"CodeTool: {project}",
        None,
        "success",
        NO_SWEEP_WORDS,
        NO_SWEEP_NUMBERS,
        summary=f"All runs of the project {project}.",
        description="Made by CodeTool's stage=dashboard",
    )


def describe_sweep(settings: DashboardConfig, sweep: SweepResults, figures: Sequence[str]) -> DashboardRequest:
    """Return the request for the runs of a sweep."""
    keys = {name: _name_config_key(name) for name in sweep.options}
    numbers = [key for name, key in keys.items() if are_numbers(sweep, name)]
    best = sweep.find_best()
    shown = format_metric(sweep.metric, best.metrics[sweep.metric].value)
    summary = (
        f"{len(sweep.cells)} cells, {len(sweep.measured)} with a result. Best {sweep.metric}: {shown} ({best.label})."
    )
    runs = [
        {
            "label": cell.label,
            "result": format_metric(sweep.metric, cell.metrics[sweep.metric].value),
            "id": cell.folder.name,
            "artifact": describe_report(cell.folder).name,
        }
        for cell in sweep.measured
        if cell.folder is not None
    ]
    return DashboardRequest(
        settings.project or os.environ.get("WANDB_PROJECT") or "codetool",
        settings.entity,
        f"Sweep {sweep.name}",
        sweep.name,
        sweep.metric,
        [key for key in keys.values() if key not in numbers],
        numbers,
        figures,
        runs,
        summary,
        f"{sweep.metric} by {', '.join(sweep.options)}. Made by CodeTool's stage=dashboard",
    )


def _name_config_key(option: str) -> str:
    """Return the key of a swept option in the configuration of the W&B runs: `search/width` for `search.width`."""
    return option.lstrip("+").rpartition("@")[2].replace(".", "/")


class WandbDashboard:
    """The W&B side of a dashboard in a folder. None of its methods raises an exception because of W&B."""

    def __init__(self, folder: Path, settings: DashboardConfig, request: DashboardRequest) -> None:
        """Store what the dashboard is about."""
        self._folder, self._settings, self._request = folder, settings, request

    def publish(self, figures: Sequence[Figure] = (), page: Path | None = None) -> Iterator[str]:
        """Write the specification, save the dashboard if asked to, and yield lines for the user."""
        if importlib.util.find_spec("wandb_workspaces") is None:
            yield f"W&B: {SPECIFICATION_FILE} is not written, it needs the package wandb-workspaces: {EXTRA}"
            return
        try:
            built = self._build(save=False, saved={}, seconds=BUILD_SECONDS)
            file = self._folder / SPECIFICATION_FILE
            atomic_write(file, [json.dumps(built["workspace"], indent=2).encode() + b"\n"])
            yield f"{file}: W&B workspace of the project {self._request.project}"
            if self._settings.project is not None:
                yield from self._save(built["base_url"], figures, page)
        except WandbError as problem:
            yield f"W&B: {problem}. The files above are written; the same command tries again."

    def _save(self, base_url: str, figures: Sequence[Figure], page: Path | None) -> Iterator[str]:
        """Save the figures as a W&B run, then the workspace and the report. Raises WandbError."""
        if os.environ.get("WANDB_MODE", "") in ("offline", "dryrun", "disabled"):
            raise WandbError(f"nothing is saved there (WANDB_MODE={os.environ['WANDB_MODE']})")
        key = find_api_key(base_url)
        if key is None:
            raise WandbError("nothing is saved there without an API key (WANDB_API_KEY, or wandb login)")
        check_server(base_url, key, self._settings.connect_timeout)
        if figures and (status := self._log_figures(figures, page)) is not None:
            if status.is_warning:
                yield status.message
            else:
                yield status.message.replace("W&B:", "W&B figures:", 1)
        file = self._folder / "wandb" / SAVED_FILE
        earlier = _read_saved(file, self._request)
        try:
            saved = self._build(save=True, saved=earlier, seconds=self._settings.upload_timeout)["saved"]
        except WandbError as problem:
            hint = f". If the earlier workspace or report was deleted there, delete {file} to save new ones"
            raise WandbError(f"{problem}{hint if earlier else ''}") from problem
        atomic_write(file, [json.dumps(saved).encode()])
        yield f"W&B workspace: {saved['workspace_url']}"
        yield f"W&B report: {saved['report_url']}"

    def _log_figures(self, figures: Sequence[Figure], page: Path | None) -> SyncStatus | None:
        """Log the figures and the page as a run of the sweep's group."""
        folder = self._folder / f"{JOB_TYPE}-{self._folder.resolve().name}"
        with explain_write_errors(folder):
            folder.mkdir(exist_ok=True)
        files = {figure.name: folder / f"{figure.name}.svg" for figure in figures}
        for figure in figures:
            atomic_write(files[figure.name], [figure.svg])
        logger = WandBLogger(
            project=self._request.project,
            entity=self._settings.entity,
            system_metrics=False,
            connect_timeout=self._settings.connect_timeout,
            upload_timeout=self._settings.upload_timeout,
        )
        run = RunInfo(folder, self._request.group, JOB_TYPE, [JOB_TYPE], self._request.name[:128], config={})
        pages = [] if page is None else [ArtifactFiles(folder.name[:128], "report", {page.name: page}, changes=True)]
        return logger.start(run).finish(RunContent({}, figures=files, artifacts=pages))

    def _build(self, *, save: bool, saved: Mapping[str, str], seconds: float) -> dict[str, Any]:
        """Let the subprocess build the workspace, and save it and the report. Raises WandbError."""
        folder = self._folder.resolve() / "wandb"
        with explain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        result = folder / "result.json"
        result.unlink(missing_ok=True)
        mode = {} if save else {"WANDB_MODE": "offline"}
        process = WandbProcess(folder, "dashboard", str(result), environment=mode)
        output = process.finish(asdict(self._request) | {"save": save, "saved": dict(saved)}, seconds)
        try:
            content: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.debug("W&B: %s", output)
            raise WandbError(f"the workspace could not be {'saved' if save else 'built'}: {output[-300:]}") from error
        result.unlink()
        return content


def _read_saved(file: Path, request: DashboardRequest) -> dict[str, str]:
    """Return what an earlier command has saved in the same project; empty if there is nothing."""
    try:
        saved: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        is_same = saved["project"] == request.project and request.entity in (None, saved["entity"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return saved if is_same else {}
