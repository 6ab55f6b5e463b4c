"""stage=dashboard: show a finished sweep on one HTML page, and build a W&B workspace and report of it.

The page, `dashboard.html`, and the specification of the workspace, `workspace.json`, are written into the sweep's
folder. With `dashboard.project` and an API key the workspace, the report and the figures are saved in W&B.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError, MissingError
from codetool.runs.journal import atomic_write
from codetool.stages.dashboard.settings import DashboardConfig

PAGE_FILE = "dashboard.html"
EXTRA = "Install it: pip install 'codetool[dashboard]'"


def dashboard(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Write the page and the specification, save the dashboard in W&B if asked to, and return 0.

    Raises ConfigError if neither a sweep nor a project is named, or a folder is not what it should be, and MissingError
    if a project is named and wandb-workspaces is not installed.
    """
    settings: DashboardConfig = config.dashboard
    if settings.sweep is None and settings.project is None:
        raise ConfigError(
            "dashboard.sweep is not set. Name the folder of a sweep, dashboard.sweep=outputs/sweeps/NAME, or a W&B "
            "project, dashboard.project=NAME, or both."
        )
    has_extra = importlib.util.find_spec("wandb_workspaces") is not None
    if settings.project is not None and not has_extra:
        raise MissingError(f"dashboard.project={settings.project} needs the package wandb-workspaces. {EXTRA}")
    lines = Console()
    for line in _write_project(config) if settings.sweep is None else _write_sweep(config, settings.sweep, console):
        lines.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _write_project(config: RunConfig) -> Iterator[str]:
    """Write and save the dashboard of all runs of a project, and yield lines for the user."""
    from codetool.stages.dashboard.wandb_publishing import SPECIFICATION_FILE, WandbDashboard, describe_project

    if config.dashboard.prm_runs:
        raise ConfigError("dashboard.prm_runs are shown on the page of a sweep. Name one: dashboard.sweep=FOLDER")
    folder = config.outputs / "dashboards" / _name_folder(config.dashboard.project)
    if config.dry_run:
        yield f"{folder / SPECIFICATION_FILE}: would be written"
        return
    yield from WandbDashboard(folder, config.dashboard, describe_project(config.dashboard)).publish()


def _name_folder(project: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in project)


def _write_sweep(config: RunConfig, folder: Path, console: Console) -> Iterator[str]:
    """Write the page and the specification of a sweep, save its dashboard if asked to, and yield lines for the user."""
    from codetool.stages.dashboard.html_page import render_page
    from codetool.stages.dashboard.prm_results import read_prm_results
    from codetool.stages.dashboard.sweep_page import build_page, describe_gaps
    from codetool.stages.dashboard.sweep_results import read_sweep
    from codetool.stages.dashboard.wandb_publishing import WandbDashboard, describe_sweep

    sweep = read_sweep(folder)
    prms = read_prm_results(config.dashboard.prm_runs, sweep.measured)
    for line in describe_gaps(sweep):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    page_file = folder / PAGE_FILE
    if config.dry_run:
        yield f"{page_file}: would be written, {len(sweep.measured)} of {len(sweep.cells)} cells have a result"
        return
    page = build_page(sweep, prms, folder)
    atomic_write(page_file, [render_page(page)])
    figures = [figure for section in page.sections for figure in section.figures]
    yield f"{page_file}: {len(sweep.measured)} of {len(sweep.cells)} cells, {len(figures)} figures"
    request = describe_sweep(config.dashboard, sweep, [figure.name for figure in figures])
    yield from WandbDashboard(folder, config.dashboard, request).publish(figures, page_file)
