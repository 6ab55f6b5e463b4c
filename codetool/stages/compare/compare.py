"""stage=compare: compare runs on the tasks that they have in common, from their files alone; nothing is run.

It prints a table and writes a page with the trees of tasks that one run solves and the other does not, CSV and LaTeX
tables, and figures.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.evaluation.sweep_table import TABLE_FILE
from codetool.runs.journal import atomic_write
from codetool.runs.provenance import PROVENANCE_FILE
from codetool.runs.write_errors import explain_write_errors
from codetool.stages.compare.compared_runs import ComparedRun, read_runs
from codetool.stages.compare.comparison import Comparison, compare_all
from codetool.stages.compare.comparison_page import build_main_table, build_page, list_cells, render_page
from codetool.stages.compare.figures import draw_comparison
from codetool.stages.compare.result_tables import write_tables
from codetool.stages.compare.settings import CompareConfig
from codetool.stages.compare.systems import System, choose_baseline, drop_other_judges, group_runs
from codetool.stages.dashboard.html_page import Figure
from codetool.stages.dashboard.sweep_page import render_chart

PAGE_FILE = "comparison.html"
OTHER_RESULTS = (PROVENANCE_FILE, TABLE_FILE)
"""Files by which the folder of a run, or of a sweep, is known."""
WIDTH = 160
"""Width of the tables where standard output is no terminal."""


def compare(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Compare the runs, write the files, and return 0. Raises ConfigError or MissingError for runs that cannot be."""
    settings: CompareConfig = config.compare
    runs, left_out = read_runs(settings.runs)
    systems, note = drop_other_judges(group_runs(runs))
    baseline = choose_baseline(systems, settings.baseline)
    comparison = compare_all(systems, baseline, config.seed)
    comparison = replace(comparison, notes=[*left_out, *filter(None, [note]), *comparison.notes])
    folder = settings.folder or config.outputs / "compare" / _name_folder(systems, baseline)
    _check_folder(folder)
    notes = [*comparison.notes, *(note for pair in comparison.pairs for note in pair.notes)]
    for line in notes:
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    printed = Console() if console.is_terminal else Console(width=WIDTH)
    if config.dry_run:
        printed.print(f"{folder / PAGE_FILE}: would be written", markup=False, highlight=False, soft_wrap=True)
        return 0
    names = write_files(comparison, folder, config)
    print_comparison(comparison, printed)
    printed.print(f"files in {folder}: {', '.join(names)}", markup=False, highlight=False, soft_wrap=True)
    printed.print(f"page: {(folder / PAGE_FILE).resolve().as_uri()}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _check_folder(folder: Path) -> None:
    """Raise ConfigError for a place that is no folder, or that holds the result of another stage."""
    place = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))  # noqa: PTH110
    if not place.is_dir():
        raise ConfigError(f"compare.folder={folder}: {place} is a file. Name a new folder, or one of a comparison.")
    if held := [name for name in OTHER_RESULTS if (folder / name).is_file()]:
        raise ConfigError(
            f"compare.folder={folder} holds the result of a run or of a sweep ({held[0]}). Name a new folder, or "
            "one of a comparison."
        )


def write_files(comparison: Comparison, folder: Path, config: RunConfig) -> list[str]:
    """Write the page, tables and figures, and return the names of the files."""
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    charts = list(draw_comparison(comparison))
    figures = [Figure(name, chart.title, render_chart(chart)) for name, chart in charts]
    page = build_page(comparison, figures, folder, config.compare.trees)
    atomic_write(folder / PAGE_FILE, [render_page(page)])
    write_tables(comparison, folder)
    for name, chart in charts:
        for format_ in config.figures:
            atomic_write(folder / f"{name}.{format_}", [render_chart(chart, format_)])
    return sorted(file.name for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the compared metric of all systems and, with few systems, all metrics of each comparison."""
    main = build_main_table(comparison)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in main.columns:
        table.add_column(name, justify="right" if name in main.numeric else "left", no_wrap=name in main.numeric)
    for row in main.rows:
        table.add_row(*(_escape(cell.text) for cell in row))
    console.print(table)
    if len(comparison.pairs) == 1:
        console.print(_build_metrics_table(comparison))
    for line in _describe_pairs(comparison):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def _build_metrics_table(comparison: Comparison) -> Table:
    [pair] = comparison.pairs
    table = Table("metric", box=None, pad_edge=False, header_style="bold")
    columns = ("system", "baseline", "difference", "by task", "by template", "tasks")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name, made in pair.differences.items():
        cells = list_cells(name, made)
        table.add_row(name, *cells[:5], cells[-1])
    return table


def _describe_pairs(comparison: Comparison) -> Iterator[str]:
    for pair in comparison.pairs:
        made = pair.differences.get(comparison.metric)
        if made is not None:
            gained, lost = _count_tasks(len(pair.gained)), len(pair.lost)
            if pair.is_all_or_none and comparison.metric == "success":
                text = f"{gained} solved that the baseline does not solve, {lost} the other way round"
            else:
                text = f"{comparison.metric} is higher than the baseline's on {gained}, lower on {lost}"
            yield f"{pair.system.label}: {text}"
            if made.detectable is not None and made.detectable > 1:
                yield f"{_count_tasks(made.estimate.tasks)} are too few to show any difference with a power of 80 %"
            elif made.detectable is not None and abs(made.estimate.value) < made.detectable:
                yield (
                    f"{_count_tasks(made.estimate.tasks)} can show a true difference of "
                    f"{100 * made.detectable:.1f} points with a power of 80 %; a smaller one needs more tasks or "
                    "repeats"
                )


def _count_tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"


def _name_folder(systems: Sequence[System], baseline: System) -> str:
    """Return a name that the compared results determine, so that the same command writes the same folder again."""
    runs: list[ComparedRun] = [run for system in systems for run in system.runs]
    results = [str(run.provenance.result) for run in runs]
    digest = hashlib.sha256("\n".join([*sorted(results), baseline.label]).encode()).hexdigest()[:8]
    names = {str(run.settings.get("stage", "")) for run in runs} & {"evaluate", "collect"}
    benchmark = runs[0].name.partition("-")[0]
    return "-".join(filter(None, [benchmark if names else "", f"{len(systems)}-systems", digest]))
