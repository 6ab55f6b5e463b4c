"""A multirun: cells that resume, fail alone and stop at once, their table, figures and W&B runs."""

from __future__ import annotations

import csv
import os
import signal
import time
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from chat_server import ChatServer
from command_line import CommandLine, lines, metrics
from wandb_files import read

GRID = ("search.width=1,2", "search.n=2,3", "search.depth=2,4")


@pytest.fixture
def words(policy: ChatServer) -> tuple[str, ...]:
    return ("-m", "policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "limit=3", "search=beam")


def sweep_folder(run: CommandLine) -> Path:
    [folder] = (run.outputs / "sweeps").iterdir()
    return folder


def table(run: CommandLine) -> list[dict[str, str]]:
    with (sweep_folder(run) / "cells.csv").open() as file:
        return list(csv.DictReader(file))


def folders(run: CommandLine) -> list[Path]:
    return sorted((run.outputs / "evaluate").iterdir())


def is_done(folder: Path) -> bool:
    return (folder / "metrics.json").exists()


@pytest.fixture
def recorded(run: CommandLine, policy: ChatServer) -> tuple[str, ...]:
    """Words that replay a whole tree: it holds what every search within it draws."""
    endpoint = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "limit=3", "logger=none")
    assert run(*endpoint, "search=exhaustive", "search.n=3", "search.depth=4").returncode == 0
    [source] = folders(run)
    return ("-m", "policy=replay", f"policy.source=[{source}]", "limit=3", "search=beam")


def test_a_sweep_killed_resumed_and_widened_runs_every_cell_once(run: CommandLine, recorded: tuple[str, ...]) -> None:
    process = run.start(*recorded, *GRID, "logger=none")
    while len(folders(run)) < 4:  # the recorded run and two cells that are done
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before_resume = {folder: (folder / "results.jsonl").read_bytes() for folder in folders(run) if is_done(folder)}
    assert 2 <= len(before_resume) < 9

    resumed = run(*recorded, *GRID, "logger=none")
    assert resumed.returncode == 0, resumed.stderr
    rows = table(run)
    assert len(rows) == 8 and {row["status"] for row in rows} == {"done"}
    assert [(row["search.width"], row["search.n"], row["search.depth"]) for row in rows[:3]] == [
        ("1", "2", "2"),
        ("1", "2", "4"),
        ("1", "3", "2"),
    ]
    assert len({row["folder"] for row in rows}) == 8
    for row in rows:
        assert float(row["success"]) == metrics(Path(row["folder"]))["metrics"]["success"]["value"]
    assert all((folder / "results.jsonl").read_bytes() == before for folder, before in before_resume.items())
    before_widened = {folder: (folder / "results.jsonl").read_bytes() for folder in folders(run)}

    wider = run(*recorded, "search.width=1,2", "search.n=2,3", "search.depth=2,3,4", "logger=none")
    assert wider.returncode == 0, wider.stderr
    assert len(table(run)) == 12 and len(folders(run)) == 13
    assert all((folder / "results.jsonl").read_bytes() == before for folder, before in before_widened.items())
    text = [node.text for node in ElementTree.parse(sweep_folder(run) / "by-search.n.svg").iter() if node.text]
    assert {"width=1 depth=2", "width=2 depth=4", "2", "3", "search.n", "success"} <= set(text)
    figures = {path.name for path in sweep_folder(run).glob("*.svg")}
    assert figures == {"by-search.width.svg", "by-search.n.svg", "by-search.depth.svg", "cost.svg"}
    assert not list(run.outputs.rglob(".hydra")) and not list(run.outputs.rglob("multirun*"))


def test_seeds_are_repetitions_and_no_axis(run: CommandLine, recorded: tuple[str, ...]) -> None:
    finished = run(*recorded, "search.width=1,2", "seed=0,1", "logger=none")
    assert finished.returncode == 0, finished.stderr
    assert len(table(run)) == 4
    assert {path.name for path in sweep_folder(run).glob("*.svg")} == {"by-search.width.svg", "cost.svg"}


def test_each_cell_is_a_wandb_run_of_one_group_that_equals_its_journals(
    run: CommandLine, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(run.outputs.parent))
    finished = run(*words, "search.n=2,3")
    assert finished.returncode == 0, finished.stderr
    [line] = [line for line in finished.stdout.splitlines() if line.startswith("W&B:")]
    assert line.endswith(f"wandb sync {sweep_folder(run) / 'wandb'}")
    linked = sorted((sweep_folder(run) / "wandb").glob("*/*.wandb"))
    assert len(linked) == 2
    for folder in folders(run):
        [offline] = (folder / "wandb").glob("offline-run-*")
        written = read(offline)
        assert (written.id, written.group) == (folder.name, sweep_folder(run).name)
        assert f"report-{folder.name}" in written.artifacts
        for name, metric in metrics(folder)["metrics"].items():
            assert written.summary[name] == metric["value"]
            assert written.summary.get(f"{name}_low") == metric["low"]
        rows = [dict(zip(written.table["columns"], row, strict=True)) for row in written.table["data"]]
        results = lines(folder, "results")
        for key in ("task_id", "query", "answer", "success", "finished"):
            assert [row[key] for row in rows] == [result[key] for result in results]
        for amount in ("tokens_in", "tokens_out", "executions", "tool_calls"):
            assert written.summary[f"ledger/{amount}"] == sum(result["ledger"][amount] for result in results)


def test_a_cell_that_fails_is_named_with_its_reason_and_stops_no_other(
    run: CommandLine, recorded: tuple[str, ...], tmp_path: Path
) -> None:
    [source] = folders(run)
    grid = ("policy=replay", f"policy.source=[{tmp_path}/nowhere],[{source}]", "search.width=2", "search.n=3")
    finished = run("-m", *grid, "search.depth=4", "limit=3", "search=beam", "logger=none")
    assert finished.returncode == 1
    first, second = table(run)
    assert first["status"].startswith("failed: policy.source: there is no file")
    assert second["status"] == "done"
    assert "nowhere" in finished.stdout
    assert "Traceback" not in finished.stdout + finished.stderr


def test_a_cell_with_tasks_that_failed_for_our_own_reasons_has_failed(
    run: CommandLine, recorded: tuple[str, ...]
) -> None:
    finished = run(*recorded, "search.width=2", "search.depth=4", "search.n=3,5", "logger=none")  # 5 were never drawn
    assert finished.returncode == 1
    assert [row["status"].split(" tasks")[0] for row in table(run)] == ["done", "failed: 3"]
    assert [row["success"] for row in table(run)][1] == "0.0"


def test_joblib_runs_cells_side_by_side_with_their_share_of_the_cpu(
    run: CommandLine, words: tuple[str, ...], slow_policy: ChatServer
) -> None:
    words = (*words, f"policy.base_url={slow_policy.url}", "logger=none")
    process = run.start(*words, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "search.n=2,3,4")
    while slow_policy.running < 2:
        assert process.poll() is None
        time.sleep(0.01)
    workers = [each for each in psutil.Process(process.pid).children() if "loky" in " ".join(each.cmdline())]
    threads = [each.environ()["OMP_NUM_THREADS"] for each in workers if "posix" in " ".join(each.cmdline())]
    assert threads == [str(max(1, len(os.sched_getaffinity(0)) // 2))] * 2
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [row["status"] for row in table(run)] == ["done"] * 3
    assert "3/3" in errors and "Warning" not in errors


def test_cells_with_equal_identity_run_once_even_side_by_side(
    run: CommandLine, words: tuple[str, ...], policy: ChatServer
) -> None:
    grid = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "concurrency=1,2")
    finished = run(*words, *grid, "logger=none")
    assert finished.returncode == 0, finished.stderr
    [folder] = folders(run)
    assert len(lines(folder, "results")) == 3
    drawn = [(line["task_id"], line["key"], line["index"]) for line in lines(folder, "candidates")]
    assert len(set(drawn)) == len(drawn)
    assert [row["folder"] for row in table(run)] == [str(folder)] * 2


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_stops_the_sweep_at_once_and_keeps_finished_cells(
    run: CommandLine, words: tuple[str, ...], slow_policy: ChatServer, launcher: str
) -> None:
    words = (*words, f"policy.base_url={slow_policy.url}", "logger=none", f"hydra/launcher={launcher}")
    process = run.start(*words, "search.n=1,2,3,4", "search.width=1,2,3,4")
    while not list(run.outputs.glob("evaluate/*/metrics.json")):
        assert process.poll() is None
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - before < 5
    assert "Stopped" in errors and "Traceback" not in errors and "Warning" not in errors
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_what_is_wrong_is_said_before_any_cell_runs(run: CommandLine) -> None:
    finished = run("-m", "search=beam,chain", "search.width=1,2")
    assert finished.returncode == 2
    assert "search.width=1: no such option. search has: depth" in finished.stderr
    assert not run.outputs.exists()


def test_a_dry_run_names_the_cells_and_writes_nothing(run: CommandLine, words: tuple[str, ...]) -> None:
    finished = run(*words, "search.n=range(2,4)", "dry_run=true")
    assert finished.returncode == 0, finished.stderr
    assert "[2/2] search.n=3" in finished.stderr
    assert not list(run.outputs.rglob("*.csv")) and not (run.outputs / "evaluate").exists()
