"""Build the W&B workspace and the W&B report of a sweep or a project, with wandb-workspaces, and save them.

Runs in the subprocess of `wandb_worker`. W&B has no panel for a heat map or for bars with intervals: those are images,
which a run of the dashboard logs. Panels read the configuration and the summary that CodeTool's runs log: `search`,
`search/width`, `success`, `seconds`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

COSTS = {"tokens": "tokens of policy and PRM for a task", "seconds": "seconds for a task", "usd": "USD for a task"}
PRM_METRICS = ("ece", "selection_regret", "selection_regret_random", "pairwise_accuracy", "auroc")
PINNED_METRICS = ("scep", "tokens", "seconds", "usd")
LIVE_METRICS = ("success", "success_low", "success_high")
MAX_ERROR_CHARS = 250
TITLE_CHARS = 128
"""Limit of wandb-workspaces for the title of a report."""


def build_or_exit(request: Mapping[str, Any], result_file: Path) -> None:
    """Do what `build` does; on an error, print one line and exit with 1."""
    try:
        build(request, result_file)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:MAX_ERROR_CHARS]}")


def build(request: Mapping[str, Any], result_file: Path) -> None:
    """Build what the request describes, save it if it says so, and write the specification and the addresses."""
    import wandb

    result: dict[str, Any] = {"base_url": wandb.setup().settings.base_url}
    if request["save"]:
        request = {**request, "entity": request["entity"] or wandb.Api().default_entity}
    workspace = build_workspace(request)
    result["workspace"] = json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
    if request["save"]:
        saved = request.get("saved") or {}
        workspace._internal_name, workspace._internal_id = saved.get("view_name", ""), saved.get("view_id", "")
        workspace.save()
        report = build_report(request, workspace.url.partition("?")[0])
        report.id = saved.get("report_id", "")
        report.save()
        result["saved"] = {
            "entity": request["entity"],
            "project": request["project"],
            "view_name": workspace._internal_name,
            "view_id": workspace._internal_id,
            "report_id": report.id,
            "workspace_url": workspace.url,
            "report_url": report.url,
        }
    result_file.write_text(json.dumps(result), encoding="utf-8")


def build_workspace(request: Mapping[str, Any]) -> Any:
    """Return the workspace: runs filtered by the sweep and grouped by its chosen words, and a section per question."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    metric, words, numbers = request["metric"], request["words"], request["numbers"]
    return ws.Workspace(
        entity=request["entity"] or "",
        project=request["project"],
        name=request["name"],
        auto_generate_panels=False,
        sections=[
            ws.Section(name=name, panels=panels, is_open=True, pinned=place == 0)
            for place, (name, panels) in enumerate(build_panels(request).items())
        ],
        runset_settings=ws.RunsetSettings(
            filters=_build_filter(request),
            groupby=[expr.Config(name) for name in words],
            order=[expr.Ordering(expr.Summary(metric), ascending=False)],
            pinned_columns=[
                "run:displayName",
                *(f"summary:{name}" for name in dict.fromkeys((metric, *PINNED_METRICS))),
                *(f"config:{name}.value" for name in (*words, *numbers)),
            ],
        ),
        settings=ws.WorkspaceSettings(max_runs=100, tooltip_number_of_runs="all_runs"),
    )


def _build_filter(request: Mapping[str, Any]) -> Any:
    """Return the filter by the sweep, which is the group of its runs; none for a whole project."""
    from wandb_workspaces import expr

    return [expr.Metric("Group") == request["group"]] if request["group"] else []


def build_panels(request: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the panels of each section, without empty sections."""
    import wandb_workspaces.reports.v2 as wr

    metric = request["metric"]
    summary = wr.SummaryMetric(metric)
    sections = {
        "Success against the swept numbers": [
            *(wr.ScatterPlot(title=f"{metric} by {n}", x=wr.Config(n), y=summary) for n in request["numbers"]),
            *_build_overview(request),
        ],
        "Success against cost": [
            wr.ScatterPlot(title=f"{metric} by {title}", x=wr.SummaryMetric(name), y=summary, log_x=name != "usd")
            for name, title in COSTS.items()
        ],
        "Ablation": [
            wr.BarPlot(
                title=f"{metric} by {word}, mean and standard error over runs",
                metrics=[wr.SummaryMetric(metric)],
                groupby=wr.Config(word),
                groupby_aggfunc="mean",
                groupby_rangefunc="stderr",
            )
            for word in request["words"]
        ],
        "Figures with intervals": [_build_images(name) for name in request["figures"]],
        "Tasks": [wr.WeavePanelSummaryTable(table_name="tasks")],
    }
    if request["group"] is None:
        sections |= _build_project_sections()
    return {name: _arrange(panels) for name, panels in sections.items() if panels}


def _build_project_sections() -> dict[str, list[Any]]:
    """Return the sections about runs that are no cells of a sweep: evaluations of PRMs, trainings, current runs."""
    import wandb_workspaces.reports.v2 as wr

    return {
        "Process reward models": [wr.BarPlot(title=name, metrics=[wr.SummaryMetric(name)]) for name in PRM_METRICS],
        "Runs that are going on": [
            wr.LinePlot(title="success so far", x="tasks/done", y=list(LIVE_METRICS)),
            wr.LinePlot(
                title="training and validation loss", x="trainer/global_step", y=["train/loss", "validation/loss"]
            ),
        ],
    }


def _build_overview(request: Mapping[str, Any]) -> list[Any]:
    """Return parallel coordinates and the importance of each swept option."""
    import wandb_workspaces.reports.v2 as wr

    metric, swept = request["metric"], (*request["words"], *request["numbers"])
    columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(name)) for name in swept]
    columns.append(wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(metric)))
    return [
        wr.ParallelCoordinatesPlot(title=f"All swept options and {metric}", columns=columns),
        wr.ParameterImportancePlot(with_respect_to=metric),
    ]


def _build_images(name: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.MediaBrowser(title=name, media_keys=[name], num_columns=1)


def _arrange(panels: Sequence[Any]) -> list[Any]:
    """Lay the panels out in two columns."""
    import wandb_workspaces.reports.v2 as wr

    for number, panel in enumerate(panels):
        panel.layout = wr.Layout(x=12 * (number % 2), y=9 * (number // 2), w=12, h=9)
    return list(panels)


def build_report(request: Mapping[str, Any], project_url: str) -> Any:
    """Return the report: the same panels with headings, and links to the runs and their reports of search trees.

    Asks the server for the project when it is saved.
    """
    import wandb_workspaces.reports.v2 as wr

    place = {"entity": request["entity"], "project": request["project"]}
    runs = [wr.Runset(**place, name="cells", filters=_build_filter(request), groupby=[])]
    blocks: list[Any] = [wr.MarkdownBlock(request["summary"]), wr.TableOfContents()]
    for name, panels in build_panels(request).items():
        blocks += [wr.H2(name), wr.PanelGrid(runsets=runs, panels=panels)]
    if links := list(_list_links(request["runs"], project_url)):
        blocks += [wr.H2("Search trees of every cell"), wr.MarkdownBlock("\n".join(links))]
    return wr.Report(
        **place, title=request["name"][:TITLE_CHARS], description=request["description"], blocks=blocks, width="fluid"
    )


def _list_links(runs: Iterable[Mapping[str, str]], project_url: str) -> Iterable[str]:
    """Yield a line of Markdown for each run, with links to its page and to the artifact of its report."""
    yield "| cell | result | run | trees |\n| --- | --- | --- | --- |" if runs else ""
    for run_ in runs:
        label, result = (run_[name].replace("|", "\\|") for name in ("label", "result"))
        page = f"{project_url}/runs/{quote(run_['id'])}"
        report = f"{project_url}/artifacts/report/{quote(run_['artifact'])}"
        yield f"| {label} | {result} | [run]({page}) | [report.html]({report}) |"
