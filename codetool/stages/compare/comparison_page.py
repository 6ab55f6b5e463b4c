"""Build and render the page of a comparison, which a browser opens from disk: all is inside, and no script runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from codetool.evaluation.metrics import is_share
from codetool.evaluation.paired_comparison import PairedDifference
from codetool.stages.compare.comparison import (
    GOLD_CALLS,
    SOLVED_SHARE,
    TEMPLATE,
    Comparison,
    PairComparison,
    SolvedTask,
)
from codetool.stages.compare.result_tables import format_difference, format_interval, format_mean, format_p
from codetool.stages.compare.tree_views import TaskView, TreeReader, link_report
from codetool.stages.dashboard import html_page
from codetool.stages.dashboard.html_page import Card, Figure, PageTable, Section, TableCell

FOLDER = Path(__file__).parent / "page"
DIFFERENCE_COLUMNS = (
    "difference", "by task", "by template", "p", "p (Holm)", "detectable", "higher", "lower", "tasks",
)  # fmt: skip
"""Columns of what `list_difference_cells` returns."""
MAX_EQUAL_TEMPLATES = 8
"""Number of templates above which those without a difference are left out of their table."""
METHOD = (
    "A difference is the system minus the baseline, taken task by task; seeds and repeats are averaged within a task "
    "first. Intervals are 95 %: tasks, or whole templates, are drawn 10,000 times. p is McNemar's exact test over the "
    "tasks on which the two differ, corrected after Holm for the number of systems; in tables of groups, difficulty "
    "and templates for the number of their rows, over all systems. Higher and lower count the tasks on which the "
    "system has the higher and the lower value. Detectable is the smallest true difference that this many tasks show "
    "with a power of 80 %: (1.960 + 0.842) × standard error of the mean difference."
)
DIFFICULTY_TEXTS = {
    GOLD_CALLS: "Difficulty is the number of calls on the gold path.",
    SOLVED_SHARE: (
        "Difficulty is the number of systems that solve the task in at least half of its searches. It depends on the "
        "compared results: tasks that all or none solve show no difference."
    ),
}


@dataclass(frozen=True)
class TaskKind:
    """Tasks that one system solves more often than the other."""

    title: str
    text: str
    anchor: str
    tasks: Sequence[TaskView]


@dataclass(frozen=True)
class ComparisonPage(html_page.DashboardPage):
    """What the page says: a dashboard's page, and the trees below it."""

    kinds: Sequence[TaskKind]


def build_page(comparison: Comparison, figures: Sequence[Figure], folder: Path, max_trees: int) -> ComparisonPage:
    """Return the page; its links are relative to `folder`, in which it is written."""
    notes = [*comparison.notes, *(note for pair in comparison.pairs for note in pair.notes)]
    sections = [
        Section(f"{comparison.metric} of all systems", METHOD, figures, build_main_table(comparison)),
        _build_system_section(comparison, folder),
        *(section for pair in comparison.pairs for section in _build_pair_sections(pair, comparison)),
    ]
    now = datetime.now().astimezone()
    return ComparisonPage(
        title=f"Comparison with {comparison.baseline.label}",
        state=f"CodeTool comparison · {len(comparison.systems)} systems · written {now:%Y-%m-%d %H:%M %Z}",
        notes=notes,
        cards=list(_build_cards(comparison)),
        sections=sections,
        kinds=list(_build_kinds(comparison, folder, max_trees)),
    )


def render_page(page: ComparisonPage) -> bytes:
    """Return the page. All texts are escaped."""
    folders = [FOLDER, html_page.FOLDER]
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    styles = (html_page.FOLDER / "style.css", FOLDER / "trees.css")
    style = Markup("".join(file.read_text(encoding="utf-8") for file in styles))
    text = environment.get_template("compare.html.jinja").render(page=page, style=style)
    return text.encode("utf-8", "replace")


def _build_cards(comparison: Comparison) -> Iterator[Card]:
    base, metric = comparison.baseline.label, comparison.metric
    yield Card(f"{metric} of the baseline", format_mean(metric, comparison.estimates[base][metric]), base)
    for pair in comparison.pairs[:3]:
        if (made := pair.differences.get(metric)) is not None:
            detail = f"{format_interval(metric, made.estimate.interval)} · {pair.system.label}"
            yield Card("difference", format_difference(metric, made.estimate.value), detail)


def build_main_table(comparison: Comparison) -> PageTable:
    """Return the compared metric of every system with its difference to the baseline."""
    metric, base = comparison.metric, comparison.baseline.label
    columns = [metric, *DIFFERENCE_COLUMNS]
    first = [format_mean(metric, comparison.estimates[base][metric]), *[""] * 8]
    tasks = str(comparison.estimates[base][metric].tasks)
    rows = [[f"{base} (baseline)", *first, tasks]]
    for pair in comparison.pairs:
        if (made := pair.differences.get(metric)) is not None:
            value, _, *cells = list_cells(metric, made)
            rows.append([pair.system.label, value, *cells])
    return PageTable(["system", *columns], [[*map(TableCell, row)] for row in rows], columns)


def list_difference_cells(metric: str, made: PairedDifference) -> list[str]:
    """Return the difference with its intervals, p-values, smallest detectable difference, and task counts."""
    estimate = made.estimate
    return [
        format_difference(metric, estimate.value),
        format_interval(metric, estimate.interval),
        format_interval(metric, estimate.template_interval) if estimate.templates < estimate.tasks else "–",
        format_p(made.p),
        format_p(made.p_holm),
        _format_detectable(metric, made.detectable),
        str(made.wins),
        str(made.losses),
        str(estimate.tasks),
    ]


def _format_detectable(metric: str, difference: float | None) -> str:
    """Return the smallest detectable difference; a share has none above 100 points, of which few tasks show nothing."""
    if difference is None:
        return "–"
    if is_share(metric) and difference > 1:
        return ">100 pp"
    return format_difference(metric, difference).removeprefix("+")


def _build_system_section(comparison: Comparison, folder: Path) -> Section:
    """Return a table of the settings in which the systems differ, with links to the reports of their runs."""
    names = list(dict.fromkeys(name for system in comparison.systems for name in system.settings))
    rows = [
        [
            TableCell(system.label),
            *(TableCell(system.settings.get(name, "–")) for name in names),
            *(TableCell(run.name, link_report(run.folder, folder)) for run in system.runs[:1]),
            TableCell(", ".join(str(run.seed) for run in system.runs)),
        ]
        for system in comparison.systems
    ]
    columns = ["system", *names, "first run", "seeds"]
    return Section("Systems", "The settings in which they differ.", table=PageTable(columns, rows))


def _build_pair_sections(pair: PairComparison, comparison: Comparison) -> Iterator[Section]:
    label, metric = pair.system.label, comparison.metric
    columns = ["system", "baseline", *DIFFERENCE_COLUMNS]
    rows = [[name, *list_cells(name, made)] for name, made in pair.differences.items()]
    table = PageTable(["metric", *columns], [[*map(TableCell, row)] for row in rows], columns)
    yield Section(f"{label}: all metrics", "On the tasks that both have. Cost is the mean over tasks.", table=table)
    for kind in dict.fromkeys(part.kind for part in pair.parts):
        parts = [part for part in pair.parts if part.kind == kind]
        differing = [part for part in parts if part.difference.wins + part.difference.losses]
        text, shown = DIFFICULTY_TEXTS.get(kind, ""), parts
        if kind == TEMPLATE and len(parts) > MAX_EQUAL_TEMPLATES:
            text, shown = f"{len(differing)} of {len(parts)} templates differ. differences.csv has all.", differing
        rows = [[part.name, *list_cells(metric, part.difference)] for part in shown]
        table = PageTable([kind, *columns], [[*map(TableCell, row)] for row in rows], columns)
        yield Section(f"{label}: {metric} by {kind}", text, table=table if rows else None)


def list_cells(metric: str, made: PairedDifference) -> list[str]:
    """Return the means of both systems over the common tasks, and the cells of the difference."""
    means = (f"{100 * mean:.1f} %" if is_share(metric) else f"{mean:,.4g}" for mean in (made.first, made.second))
    return [*means, *list_difference_cells(metric, made)]


def _build_kinds(comparison: Comparison, folder: Path, max_trees: int) -> Iterator[TaskKind]:
    reader = TreeReader(folder)
    for number, pair in enumerate(comparison.pairs):
        names = (pair.system.label, pair.baseline.label)
        for solved, (better, worse) in ((pair.gained, names), (pair.lost, names[::-1])):
            tasks = [_view(reader, pair, each, comparison.tasks) for each in solved[:max_trees]]
            text = f"{len(solved)} task{'' if len(solved) == 1 else 's'}"
            text += (
                f"; the trees of the first {len(tasks)} are shown (compare.trees)" if len(tasks) < len(solved) else ""
            )
            if not solved:
                continue
            anchor = f"{'gained' if better == names[0] else 'lost'}-{number}"
            if pair.is_all_or_none and comparison.metric == "success":
                title = f"Solved by {better} and not by {worse}"
            else:
                title = f"Higher {comparison.metric} with {better} than with {worse}"
            yield TaskKind(title, text, anchor, tasks)


def _view(reader: TreeReader, pair: PairComparison, solved: SolvedTask, tasks: Mapping[str, Any]) -> TaskView:
    return reader.view_task(pair, solved, tasks.get(solved.task_id))
