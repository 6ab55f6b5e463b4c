"""Read results of stage=evaluate_prm, and draw the calibration and the selection regret of several PRMs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.bar_chart import BarChart, IntervalBar
from codetool.evaluation.cell_groups import Estimate
from codetool.evaluation.charts import COLOURS, Chart, Line, Point
from codetool.runs.bounded_input import parse_json, read_text
from codetool.stages.dashboard.sweep_results import Cell, parse_estimate

REGRETS = ("selection_regret", "selection_regret_random")
SHOWN_METRICS = ("accuracy", "auroc", "pairwise_accuracy", "first_error_f1", "ece", "brier", "log_loss", *REGRETS)
GREY = "#888888"


@dataclass(frozen=True)
class PRMResult:
    """A result of stage=evaluate_prm."""

    name: str
    """Short name, for legends."""
    folder: Path
    metrics: Mapping[str, Estimate]
    bins: Sequence[tuple[float, Estimate]]
    """Mean score and success rate of the steps of each bin of scores."""


def read_prm_results(folders: Sequence[Path], cells: Sequence[Cell]) -> list[PRMResult]:
    """Read these folders of stage=evaluate_prm, and the cells of a sweep that are results of that stage.

    Raises ConfigError for a folder that is none, or has no result yet.
    """
    named = [_parse_result(folder.resolve().name, folder, _read_metrics(folder)) for folder in folders]
    return [*named, *_read_cells(cells)]


def _read_metrics(folder: Path) -> Any:
    try:
        return parse_json(read_text(folder / "metrics.json"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"dashboard.prm_runs: {folder} is no folder of stage=evaluate_prm with a result: its metrics.json cannot "
            f"be read ({error})"
        ) from error


def _read_cells(cells: Sequence[Cell]) -> Iterator[PRMResult]:
    for cell in cells:
        if cell.folder is not None and (cell.folder / "metrics.json").is_file():
            content = _read_metrics(cell.folder)
            if isinstance(content, dict) and "reliability" in content:
                yield _parse_result(cell.label, cell.folder, content)


def _parse_result(name: str, folder: Path, content: Any) -> PRMResult:
    try:
        metrics = {key: parse_estimate(value) for key, value in content["metrics"].items()}
        bins = [(float(bin_["score"]), parse_estimate(bin_["soft"])) for bin_ in content["reliability"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"dashboard.prm_runs: {folder} is no folder of stage=evaluate_prm: its metrics.json holds no metrics with "
            f"reliability ({error!r})"
        ) from error
    return PRMResult(name, folder, metrics, bins)


def draw_calibration(results: Sequence[PRMResult]) -> Chart:
    """Return the reliability plot of the PRMs: the success rate of steps by their score."""
    ends = [Point(0.0, 0.0, None, None), Point(1.0, 1.0, None, None)]
    lines = [Line("calibrated", ends, colour=GREY, dots=False)]
    for number, result in enumerate(results):
        points = [Point(score, soft.value, soft.low, soft.high) for score, soft in result.bins]
        error = f" (ECE {result.metrics['ece'].value:.3f})" if "ece" in result.metrics else ""
        lines.append(Line(f"{result.name}{error}", points, colour=COLOURS[number % len(COLOURS)]))
    ticks = [(tick / 5, f"{tick / 5:g}") for tick in range(6)]
    title = "Calibration of the PRM, 95 % intervals over tasks"
    return Chart(title, "score of the PRM", "leaves below that succeed", lines, ticks=ticks)


def draw_regret(results: Sequence[PRMResult]) -> BarChart | None:
    """Return the selection regret of the PRMs beside that of a random choice; None if no PRM has one."""
    groups = []
    for result in results:
        bars = [
            IntervalBar(legend, estimate.value, estimate.low, estimate.high)
            for name, legend in zip(REGRETS, ("by the PRM's score", "at random"), strict=True)
            if (estimate := result.metrics.get(name)) is not None
        ]
        if bars:
            groups.append((result.name, bars))
    title = "Selection regret: best sibling's success rate minus the chosen one's"
    return BarChart(title, "selection regret", groups, share=False) if groups else None
