"""The driver of studies with a scripted policy, and their tables from run folders written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import ROOT, read_lines
from equal_compute import compare_at_equal_compute
from study import STUDIES, CellRun, Plan, Study, load_study, plan_runs
from study_figure import build_chart
from study_result import Tasks, collect_result, measure_seconds
from study_table import render_tables

from codetool.errors import ConfigError
from codetool.runs import journal

ABLATION = load_study("embedded_ablation")
TASKS = list(Tasks.select("dev", None).templates)


def plan(folder: Path, **others: Any) -> Plan:
    given = {"study": ABLATION, "split": "dev", "limit": None, "seeds": (0, 1), "outputs": folder}
    return Plan(**(given | others))


def line(task: str, success: bool, tokens: int = 10, error: Any = None, wall: float = 1.0) -> dict[str, Any]:
    metrics = {"scep": 0.5, "tokens_in": tokens, "tokens_out": 1, "prm_tokens": 0, "tool_calls": 2}
    return {"task_id": task, "success": success, "metrics": metrics, "error": error, "seconds": wall}


def ran(folder: Path, name: str, seed: int, *results: dict[str, Any]) -> CellRun:
    place = folder / f"{name}-{seed}"
    place.mkdir()
    journal.atomic_write(place / "results.jsonl", map(journal.encode_record, results))
    return CellRun(name, ABLATION.cells[name], seed, (f"limit={len(results)}",), place)


def of(folder: Path, limit: int, *planned: CellRun) -> dict[str, Any]:
    cells = tuple(run.name for run in planned)
    return collect_result("command", plan(folder, limit=limit, cells=cells), planned, [])


def render(content: dict[str, Any], study: Study = ABLATION) -> str:
    return "\n".join([*render_tables(content, {name: cell.title for name, cell in study.cells.items()}), ""])


def test_a_chain_is_run_once_and_stands_for_every_seed(tmp_path: Path) -> None:
    first, second = TASKS[:2]
    found = of(
        tmp_path,
        2,
        ran(tmp_path, "chain", 0, line(first, True), line(second, False)),
        ran(tmp_path, "full", 0, line(first, True), line(second, True)),
        ran(tmp_path, "full", 1, line(first, True), line(second, False)),
    )
    assert found["cells"]["chain"]["success"]["all"]["value"] == 0.5
    assert found["cells"]["full"]["success"]["all"]["value"] == 0.75
    [difference] = found["differences"]
    assert (difference["first"], difference["second"]) == ("full", "chain")
    assert difference["success"]["all"]["value"] == 0.25  # the second task: 1 - 0 and 0 - 0, the first: no difference
    assert not found["missing"]


def test_what_is_missing_is_named_and_what_is_there_counts(tmp_path: Path) -> None:
    first, second, third = TASKS[:3]
    found = of(
        tmp_path,
        3,
        ran(tmp_path, "full", 0, line(first, True), line(second, True)),
        ran(tmp_path, "full", 1),
        ran(tmp_path, "without_latent", 0, line(second, False), line(third, False)),
        ran(tmp_path, "without_latent", 1),
    )
    assert found["missing"] == [
        "full, seed 0: 2 of 3 tasks", "full, seed 1: 0 of 3 tasks",
        "without_latent, seed 0: 2 of 3 tasks", "without_latent, seed 1: 0 of 3 tasks",
    ]  # fmt: skip
    [difference] = found["differences"]
    assert (difference["success"]["all"]["value"], difference["success"]["all"]["tasks"]) == (1.0, 1)
    text = render(found)
    assert "| full − without latent | +100.0 |" in text and "full, seed 1: 0 of 3 tasks" in text


def test_a_task_that_failed_for_our_own_reasons_is_unsolved_and_has_no_amounts(tmp_path: Path) -> None:
    broken = line(TASKS[1], False, tokens=0, error={"kind": "internal", "message": "x"})
    found = of(tmp_path, 2, ran(tmp_path, "chain", 0, line(TASKS[0], True, tokens=10), broken))
    cell = found["cells"]["chain"]
    assert (cell["success"]["all"]["value"], cell["failed"]) == (0.5, 1)
    assert (cell["policy_tokens"]["all"]["value"], cell["policy_tokens"]["all"]["tasks"]) == (11.0, 1)
    assert "counted as unsolved: chain 1" in render(found)


def test_results_are_split_by_whether_train_has_the_template(tmp_path: Path) -> None:
    tasks = Tasks.select("dev", None)
    unseen = set(tasks.groups["unseen"])
    assert 0 < len(unseen) < len(tasks.templates)
    trained = {tasks.templates[task] for task in tasks.groups["seen"]}
    assert not trained & {tasks.templates[task] for task in unseen}
    found = of(tmp_path, len(TASKS), ran(tmp_path, "chain", 0, *(line(task, task in unseen) for task in TASKS)))
    success = found["cells"]["chain"]["success"]
    assert (success["seen"]["value"], success["unseen"]["value"]) == (0.0, 1.0)
    assert success["unseen"]["tasks"] == len(unseen)


def test_seconds_are_those_of_a_whole_timed_run(tmp_path: Path) -> None:
    whole = ran(
        tmp_path, "chain", 0, *(line(task, True, wall=wall) for task, wall in zip(TASKS, (3.0, 8.0), strict=False))
    )
    assert measure_seconds(whole) == {"value": 4.0, "tasks": 2}
    assert measure_seconds(CellRun("chain", whole.cell, 0, ("limit=3",), whole.folder)) is None  # fmt: skip


def test_the_most_telling_cells_come_first_and_share_nothing_but_the_command(tmp_path: Path) -> None:
    words = ("policy=openai", "policy.model=m")
    cells = tuple(name for name, cell in ABLATION.cells.items() if not cell.uses_prm)
    planned = plan_runs(plan(tmp_path, cells=cells, options=words))
    names = ["chain", "without_latent", "oracle", "without_latent", "oracle"]
    assert [(run.name, run.seed) for run in planned] == list(zip(names, (0, 0, 0, 1, 1), strict=True))
    assert len({run.folder for run in planned}) == len(planned)


@pytest.mark.parametrize(
    "file", sorted(STUDIES.glob("*/results/*.json")), ids=lambda path: str(path.relative_to(STUDIES))
)
def test_the_tables_kept_are_what_the_results_say(file: Path) -> None:
    study = load_study(file.parts[-3])
    assert file.with_suffix(".md").read_text() == render(json.loads(file.read_text()), study)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.parent.name for path in STUDIES.glob("*/study.yaml")))
def test_every_cell_of_every_study_can_start_in_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    cells = load_study(name).cells.values()
    planned = plan_runs(plan(tmp_path, study=load_study(name), seeds=(0,)))
    assert len({run.folder for run in planned}) == len(planned) == sum(cell.subsample is None for cell in cells)


def test_a_cell_is_compared_with_the_mixture_of_baselines_that_costs_as_much() -> None:
    def measured(tokens: float, first: float, second: float) -> dict[str, dict[str, float]]:
        return {"success": {"a": first, "b": second}, "tokens": {"a": tokens, "b": tokens}}

    means = {
        "one": measured(100, 0.0, 1.0), "two": measured(200, 1.0, 1.0),
        "between": measured(175, 1.0, 1.0), "dear": measured(201, 1.0, 1.0), "empty": {"success": {}, "tokens": {}},
    }  # fmt: skip
    between, dear = compare_at_equal_compute(means, ["two", "one"], dict)
    assert (between["cheaper"], between["dearer"], between["weight"]) == ("one", "two", 0.75)
    assert between["success"] == {"a": 0.25, "b": 0.0}  # 1 - (0.25 * 0 + 0.75 * 1) and 1 - 1
    assert dear["success"] is None and "weight" not in dear


def test_a_study_with_curves_has_a_figure_and_a_table_at_equal_tokens(tmp_path: Path) -> None:
    study = ABLATION.model_copy(update={"curves": {"greedy": ("chain", "full")}, "equal_compute": "greedy"})
    names = ("chain", "full", "without_latent")
    planned = [
        ran(tmp_path, name, 0, *(line(task, task == TASKS[0] or tokens > 10, tokens) for task in TASKS[:2]))
        for name, tokens in zip(names, (10, 30, 20), strict=True)
    ]
    found = collect_result("command", plan(tmp_path, study=study, limit=2, seeds=(0,), cells=names), planned, [])
    assert "| without latent | 50 % chain, 50 % full | 21 | +25.0" in render(found, study)
    chart = build_chart(found, study)
    assert [(drawn.name, [point.y for point in drawn.points]) for drawn in chart.lines] == [
        ("greedy", [0.5, 1.0]), ("without latent", [1.0]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question: q\ncells: {}\n", "cells: "),
        ("question: q\ncells: {a: {title: t, options: [x]}}\ndifferences: [[a, b]]\n", "b: no such cell. There are: a"),
        ("question: q\ncells: {a: {title: t, options: [x]}}\nequal_compute: x\n", "x is none of the curves"),
        ("question: q\ncell: 1\n", "study.yaml: "),
    ],
)
def test_a_wrong_study_is_named_with_its_fault(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/study.yaml").write_text(content)
    with pytest.raises(ConfigError) as error:
        load_study("mine", tmp_path)
    assert message in str(error.value)


def ablation(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "experiments/studies/run_study.py", "embedded_ablation", "--outputs", str(outputs)]
    command += ["--split", "dev"]
    command += ["--limit", "2", "--seeds", "0", *words, "policy=openai", "policy.model=m", "logger=none"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_cells_run_share_their_candidates_and_run_no_more_than_once(tmp_path: Path, policy: ChatServer) -> None:
    words = ("--cells", "without_latent,oracle", "--timing", "1", f"policy.base_url={policy.url}")
    done = ablation(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "embedded_ablation/dev.json").read_text())
    assert not found["missing"] and found["cells"]["oracle"]["seconds"]["tasks"] == 1
    folders = [*tmp_path.glob("evaluate/*"), *tmp_path.glob("timing/evaluate/*")]
    prompts = {folder: {line["key"] for line in read_lines(folder, "candidates")} for folder in folders}
    shared = set.union(*(prompts[folder] for folder in folders[:2]))
    assert len(folders) == 4 and len(shared) < sum(len(prompts[folder]) for folder in folders[:2])
    assert len(policy.requests) == len(shared) + sum(len(prompts[folder]) for folder in folders[2:])
    asked = len(policy.requests)
    again = ablation(tmp_path, *words)
    assert again.returncode == 0 and "without latent: greedy" in again.stdout
    assert len(policy.requests) == asked


@pytest.mark.slow
def test_cells_that_fail_are_named_and_stop_no_other(tmp_path: Path) -> None:
    done = ablation(tmp_path, "--cells", "chain,oracle", "--timing", "0", "policy.base_url=http://127.0.0.1:9/v1")
    assert done.returncode == 1
    assert "failed: chain, seed 0; oracle, seed 0" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cells", "full", "--prm", "nowhere"), "nowhere is no folder"),
        (("--cells", "ful"), "no such cell. There are: chain, full"),
        (("search.n=3",), "search.n=3: set by the study"),
    ],
)
def test_what_cannot_run_is_said_before_anything_runs(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = ablation(tmp_path, *words, "policy.base_url=http://127.0.0.1:9/v1")
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "evaluate").exists()
