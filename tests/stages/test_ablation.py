"""The ablation's driver with a scripted policy, and its table from run folders written by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cells import CELLS, CellRun, Plan, runs
from chat_server import ChatServer
from command_line import ROOT, read_lines
from result import Tasks, result, seconds
from table import markdown

from codetool.runs import journal

BY_NAME = {cell.name: cell for cell in CELLS}
TASKS = list(Tasks.of("dev", None).templates)


def plan(folder: Path, **others: Any) -> Plan:
    given = {"split": "dev", "limit": None, "seeds": (0, 1), "outputs": folder, "policy": None, "prm": None}
    return Plan(**(given | others))


def line(task: str, success: bool, tokens: int = 10, error: Any = None, wall: float = 1.0) -> dict[str, Any]:
    metrics = {"scep": 0.5, "tokens_in": tokens, "tokens_out": 1, "prm_tokens": 0, "tool_calls": 2}
    return {"task_id": task, "success": success, "metrics": metrics, "error": error, "seconds": wall}


def ran(folder: Path, name: str, seed: int, *results: dict[str, Any]) -> CellRun:
    place = folder / f"{name}-{seed}"
    place.mkdir()
    journal.atomic_write(place / "results.jsonl", map(journal.encode_record, results))
    return CellRun(BY_NAME[name], seed, (f"limit={len(results)}",), place)


def of(folder: Path, limit: int, *planned: CellRun) -> dict[str, Any]:
    cells = tuple(cell for cell in CELLS if cell.name in {run.cell.name for run in planned})
    return result("command", plan(folder, limit=limit, cells=cells), planned, [])


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
    text = "\n".join(markdown(found))
    assert "| full − without latent | +100.0 |" in text and "full, seed 1: 0 of 3 tasks" in text


def test_a_task_that_failed_for_our_own_reasons_is_unsolved_and_has_no_amounts(tmp_path: Path) -> None:
    broken = line(TASKS[1], False, tokens=0, error={"kind": "internal", "message": "x"})
    found = of(tmp_path, 2, ran(tmp_path, "chain", 0, line(TASKS[0], True, tokens=10), broken))
    cell = found["cells"]["chain"]
    assert (cell["success"]["all"]["value"], cell["failed"]) == (0.5, 1)
    assert (cell["tokens"]["all"]["value"], cell["tokens"]["all"]["tasks"]) == (11.0, 1)
    assert "counted as unsolved: chain 1" in "\n".join(markdown(found))


def test_results_are_split_by_whether_train_has_the_template(tmp_path: Path) -> None:
    tasks = Tasks.of("dev", None)
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
    assert seconds(whole) == {"value": 4.0, "tasks": 2}
    assert seconds(CellRun(whole.cell, 0, ("limit=3",), whole.folder)) is None  # fmt: skip


def test_the_most_telling_cells_come_first_and_share_nothing_but_the_command(tmp_path: Path) -> None:
    words = ("policy=openai", "policy.model=m")
    cells = tuple(cell for cell in CELLS if not cell.judged)
    planned = runs(plan(tmp_path, cells=cells, words=words))
    names = ["chain", "without_latent", "oracle", "without_latent", "oracle"]
    assert [(run.cell.name, run.seed) for run in planned] == list(zip(names, (0, 0, 0, 1, 1), strict=True))
    assert len({run.folder for run in planned}) == len(planned)


@pytest.mark.parametrize("file", sorted((ROOT / "experiments/embedded_ablation/results").glob("*.json")), ids=str)
def test_the_tables_kept_are_what_the_results_say(file: Path) -> None:
    assert file.with_suffix(".md").read_text() == "\n".join([*markdown(json.loads(file.read_text())), ""])


def ablation(outputs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "experiments/embedded_ablation/ablation.py", "--outputs", str(outputs), "--split", "dev"]
    command += ["--limit", "2", "--seeds", "0", *words, "policy=openai", "policy.model=m", "logger=none"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_the_cells_run_share_their_candidates_and_run_no_more_than_once(tmp_path: Path, policy: ChatServer) -> None:
    words = ("--cells", "without_latent,oracle", "--timing", "1", f"policy.base_url={policy.url}")
    done = ablation(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "ablation_dev.json").read_text())
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
        (("search.n=3",), "search.n=3: the cells and the options of this command say that"),
    ],
)
def test_what_cannot_run_is_said_before_anything_runs(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = ablation(tmp_path, *words, "policy.base_url=http://127.0.0.1:9/v1")
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "evaluate").exists()
