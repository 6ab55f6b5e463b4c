"""The search trees of tasks that one system solves and the other does not, prepared for the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.evaluation.result_records import parse_nodes
from codetool.runs.repeats import find_task_id
from codetool.stages.compare.comparison import PairComparison, SolvedTask
from codetool.stages.compare.systems import System
from codetool.stages.report import REPORT_FILE
from codetool.types import Node, Task

MAX_TEXT_CHARS = 1200
"""Maximum length of a program, an observation or an answer on the page."""


@dataclass
class StepView:
    """A step of a tree."""

    name: str
    status: str
    is_chosen: bool
    code: str
    observation: str
    rewards: str
    children: list[StepView] = field(default_factory=list)


@dataclass(frozen=True)
class TreeView:
    """One system's search of a task."""

    system: str
    verdict: str
    answer: str
    link: str | None
    """Relative address of the task in the run's report."""
    steps: Sequence[StepView]


@dataclass(frozen=True)
class TaskView:
    """A task with the trees of both systems."""

    task_id: str
    query: str
    expected: str
    facts: str
    trees: Sequence[TreeView]


class TreeReader:
    """Reads the trees of the compared runs; keeps the index of each run's file."""

    def __init__(self, page_folder: Path) -> None:
        """Links are relative to the folder of the page."""
        self._page_folder = page_folder
        self._open = lru_cache(maxsize=None)(lambda folder: TreeFile(folder / TREES))
        self._lines = lru_cache(maxsize=None)(_read_lines)

    def view_task(self, pair: PairComparison, solved: SolvedTask, task: Task | None) -> TaskView:
        """Return both trees: of each system the search that shows the difference best."""
        better, worse = solved.first > solved.second, solved.first < solved.second
        views = [
            self._view_tree(pair.system, solved.task_id, wants_success=better, share=solved.first),
            self._view_tree(pair.baseline, solved.task_id, wants_success=worse, share=solved.second),
        ]
        trees = [view for view, _ in views if view is not None]
        query = next((query for _, query in views if query), "")
        expected = "" if task is None or task.answer is None else _cut(str(task.answer.value))
        facts = [] if task is None else [task.template or "", f"{len(task.gold)} gold calls" if task.gold else ""]
        return TaskView(solved.task_id, query, expected, " · ".join(filter(None, facts)), trees)

    def _view_tree(
        self, system: System, task_id: str, *, wants_success: bool, share: float
    ) -> tuple[TreeView | None, str]:
        searches = [(run.folder, line) for run in system.runs for line in self._lines(run.folder).get(task_id, ())]
        if not searches:
            return None, ""
        folder, line = next((each for each in searches if bool(each[1].get("success")) == wants_success), searches[0])
        tree = next(self._open(folder).read_trees([line["task_id"]]), None)
        nodes = () if tree is None else parse_nodes(tree)
        verdict = "solved" if line.get("success") else (line["error"] or {}).get("kind") or "not solved"
        verdict += f" · {100 * share:.0f} % of {len(searches)} searches" if len(searches) > 1 else ""
        steps = build_steps(nodes, line.get("path") or ())
        answer = _cut(str(line.get("answer") or "no answer"))
        return TreeView(system.label, verdict, answer, self._link(folder, line), steps), str(line.get("query") or "")

    def _link(self, folder: Path, line: Mapping[str, Any]) -> str | None:
        report = link_report(folder, self._page_folder)
        return None if report is None else f"{report}#task-{quote(str(line['task_id']), safe='')}"


def link_report(folder: Path, page_folder: Path) -> str | None:
    """Return the address of a run's report relative to the folder of a page; None if there is no report."""
    if not (folder / REPORT_FILE).is_file():
        return None
    return quote(os.path.relpath((folder / REPORT_FILE).resolve(), page_folder.resolve()))


def _read_lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the result lines of each task, one for each repeat."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    for line in load_result_lines(folder):
        by_task.setdefault(find_task_id(line), []).append(line)
    return by_task


def build_steps(nodes: Sequence[Node], path: Sequence[str]) -> list[StepView]:
    """Return the first steps of a tree with the steps below them; those of the chosen path are marked."""
    views = {node.id: _view_step(node, node.id in path) for node in nodes if node.step is not None}
    roots: list[StepView] = []
    for node in nodes:
        if node.step is not None:
            parent = views.get(node.parent.id) if node.parent is not None else None
            (roots if parent is None else parent.children).append(views[node.id])
    return roots


def _view_step(node: Node, is_chosen: bool) -> StepView:
    assert node.step is not None
    execution = node.execution
    output = "\n".join(_list_outputs(node))
    latent = "" if node.latent is None else f" · latent {node.latent:.2f}"
    times = f" · drawn {node.multiplicity} times" if node.multiplicity > 1 else ""
    return StepView(
        name=node.id,
        status=execution.status if execution else "not run",
        is_chosen=is_chosen,
        code=_cut(node.step.code if node.step.code is not None else node.step.text),
        observation=_cut(output),
        rewards=f"spot {node.spot:g}{latent} · sum {node.cumulative:.2f}{times}",
    )


def _list_outputs(node: Node) -> Iterator[str]:
    if node.execution is not None:
        if text := node.execution.observation.strip():
            yield text
        if node.execution.error:
            yield node.execution.error


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}… ({len(text):,} characters)"
