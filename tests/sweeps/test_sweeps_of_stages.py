"""Multiruns of the stages beside evaluate, in this process: table, figures, resume, failed cells, chains."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from chat_server import ChatServer, chat, serve_in_process
from in_process import collect_run, evaluate_run, scripted
from training_jobs import process_file

from codetool.sweeps.sweep import run_sweep


@pytest.fixture
def judge_server() -> Iterator[ChatServer]:
    with serve_in_process(lambda _: chat('{"answer_status": "Solved", "reason": ""}')) as server:
        yield server


def read_table(outputs: Path) -> list[dict[str, str]]:
    [file] = outputs.glob("sweeps/*/cells.csv")
    with file.open() as lines:
        return list(csv.DictReader(lines))


def list_figures(outputs: Path) -> set[str]:
    return {path.name for path in outputs.glob("sweeps/*/*.svg")}


def test_collecting_is_compared_by_success_and_shows_the_process_data(tmp_path: Path, policy: ChatServer) -> None:
    words = [*scripted(policy), "stage=collect", "limit=1", "logger=none", f"outputs={tmp_path}", "search.n=1,2"]
    assert run_sweep(words) == 0
    rows = read_table(tmp_path)
    assert [row["status"] for row in rows] == ["done"] * 2
    assert [int(row["examples"]) for row in rows] == [
        len((Path(row["folder"]) / "process.jsonl").read_text().splitlines()) for row in rows
    ]
    assert list_figures(tmp_path) == {"by-search.n.svg", "cost.svg"}
    asked = len(policy.requests)
    assert run_sweep([*words, "figures=[]"]) == 0 and len(policy.requests) == asked


def test_prms_are_compared_on_the_same_data_and_a_failing_cell_stops_no_other(
    tmp_path: Path, policy: ChatServer
) -> None:
    collect_run(tmp_path / "data", *scripted(policy), "search.n=2", "limit=2")
    [data] = (tmp_path / "data" / "collect").iterdir()
    words = ["stage=evaluate_prm", "benchmark.split=dev", "logger=none", f"outputs={tmp_path}"]
    words += ["prm=random,none,oracle", f"evaluate_prm.runs=[{data}]"]
    assert run_sweep(words) == 1
    rows = {row["prm"]: row for row in read_table(tmp_path)}
    assert rows["none"]["status"].startswith("failed: stage=evaluate_prm: prm=none judges nothing")
    assert float(rows["oracle"]["pairwise_accuracy"]) > float(rows["random"]["pairwise_accuracy"])
    assert rows["oracle"]["pairwise_accuracy_low"] and list_figures(tmp_path) == {"by-prm.svg"}
    scores = [Path(rows[prm]["folder"]) / "scores.jsonl" for prm in ("random", "oracle")]
    written = [file.read_bytes() for file in scores]
    assert run_sweep([*words, "figures=[]"]) == 1 and [file.read_bytes() for file in scores] == written


@pytest.mark.slow
def test_training_is_compared_by_the_validation_loss_and_not_repeated(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "model")
    data = process_file(tmp_path / "process.jsonl", 4)
    words = ["stage=train", "prm=qwen7b", f"prm.model={tmp_path / 'model'}", f"train.files=[{data}]", "logger=none"]
    words += ["train.threads=1", "trainer.precision=32-true", f"outputs={tmp_path}", "train.val_fraction=0.25"]
    assert run_sweep([*words, "optimizer.lr=1e-4,1e-2"]) == 0
    rows = read_table(tmp_path)
    assert len({row["validation_loss"] for row in rows}) == 2 and all(row["updates"] for row in rows)
    [figure] = tmp_path.glob("sweeps/*/*.svg")
    assert figure.name == "by-optimizer.lr.svg" and "validation_loss" in figure.read_text()
    losses = [(Path(row["folder"]) / "losses.jsonl").stat().st_mtime_ns for row in rows]
    assert run_sweep([*words, "optimizer.lr=1e-4,1e-2"]) == 0
    assert losses == [(Path(row["folder"]) / "losses.jsonl").stat().st_mtime_ns for row in rows]


def test_judges_are_compared_on_the_same_answers(tmp_path: Path, policy: ChatServer, judge_server: ChatServer) -> None:
    folder = evaluate_run(tmp_path, *scripted(policy), "search=chain", "limit=2").folder
    words = ["stage=judge", f"judge_stage.folder={folder}", "judge=stabletoolbench", "judge.model=j", "logger=none"]
    words += [f"judge.base_url={judge_server.url}", "judge.votes=1,3", f"outputs={tmp_path}"]
    assert run_sweep(words) == 0
    assert [row["sopr"] != "" for row in read_table(tmp_path)] == [True, True]
    assert list_figures(tmp_path) == {"by-judge.votes.svg"}


def test_chains_that_begin_alike_share_their_beginning(tmp_path: Path, policy: ChatServer) -> None:
    words = [*scripted(policy)[:-1], "stage=[collect,evaluate_prm]", "collect:prm=none", "limit=2", "logger=none"]
    words += ["search.n=2", f"outputs={tmp_path}", "evaluate_prm:prm=random,oracle", "figures=[]"]
    assert run_sweep(words) == 0
    rows = read_table(tmp_path)
    assert [row["evaluate_prm:prm"] for row in rows] == ["random", "oracle"]
    assert len({row["collect_folder"] for row in rows}) == 1 and len({row["folder"] for row in rows}) == 2
