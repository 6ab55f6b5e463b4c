"""stage=recheck: the same verdicts by the same checker, flips by another one, repeats, judges, and refused folders."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat, serve_in_process
from command_line import read_lines
from in_process import evaluate_run, prepare_run, scripted
from scripted_policy import scripted_server
from written_runs import write_run

from codetool.benchmarks.tmdb_verified import TMDBVerified
from codetool.errors import ConfigError, MissingError
from codetool.evaluation.metrics import compute_path_metrics
from codetool.stages.compare.compare import compare
from codetool.stages.recheck import benchmark_choice
from codetool.stages.recheck.recheck import recheck


def judge_by_answer(body: dict[str, Any]) -> Reply:
    """Unsolved is the answer `wrong`."""
    return chat("Unsolved" if "wrong" in body["messages"][0]["content"].partition("Answer:")[2] else "Solved")


def check_again(outputs: Path, folder: Path | None, *words: str) -> tuple[Path | None, str]:
    """Run the stage; return the folder it made last, and what it printed."""
    given = () if folder is None else (f"recheck.folder={folder}",)
    config, choices, console = prepare_run(outputs, "stage=recheck", *given, *words)
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert recheck(config, {**choices, "judge": choices.get("judge", "none")}, console) == 0
    made = sorted((outputs / "recheck").glob("*"), key=lambda path: path.stat().st_mtime_ns)
    return made[-1] if made else None, console.file.getvalue() + printed.getvalue()  # type: ignore[attr-defined]


def read_flips(folder: Path) -> list[dict[str, str]]:
    with (folder / "flips.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_all(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that searched each task twice, made by really running it; to be read only."""
    with scripted_server() as policy:
        words = (*scripted(policy), "search=greedy", "search.n=3", "limit=5", "repeats=2")
        return evaluate_run(tmp_path_factory.mktemp("finished"), *words).folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a run with solved and unsolved tasks, written by hand; to be read only."""
    outcomes = [[True, False], [True, True], [False, False]]
    return write_run(tmp_path_factory.mktemp("written"), outcomes, "search=greedy", "repeats=2")


@pytest.mark.slow
def test_the_same_checker_gives_the_same_lines_and_changes_nothing_of_the_run(finished: Path, tmp_path: Path) -> None:
    before = read_all(finished)
    made, printed = check_again(tmp_path, finished)
    assert made is not None and read_all(finished) == before
    key = lambda line: line["task_id"]  # noqa: E731
    assert sorted(read_lines(made, "results"), key=key) == sorted(read_lines(finished, "results"), key=key)
    assert {line["task_id"] for line in read_lines(made, "trees")} == {
        line["task_id"] for line in read_lines(made, "results")
    }
    old, new = (json.loads((folder / "metrics.json").read_text()) for folder in (finished, made))
    assert old["metrics"] == new["metrics"] and old["tasks"] == new["tasks"]
    assert "10 answers checked, 0 verdicts changed" in printed and read_flips(made) == []
    again, _ = check_again(tmp_path, finished)
    assert again == made


def test_a_run_is_as_large_as_it_was_if_its_benchmark_is_larger_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path, [True, False, True], "benchmark.split=tour", "limit=null")  # of 6 tasks, all in dev
    monkeypatch.setattr(benchmark_choice, "read_overrides", lambda: ["benchmark.split=dev"])
    made, printed = check_again(tmp_path, run, "benchmark.split=dev")
    assert made is not None and "success 66.7 % before and now" in printed
    assert json.loads((made / "metrics.json").read_text())["tasks"]["asked"] == 6


def test_another_checker_flips_verdicts_and_explains_the_new_ones(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {line["task_id"]: line for line in read_lines(written, "results")}
    assert {line["success"] for line in lines.values()} == {True, False}
    monkeypatch.setattr(TMDBVerified, "check", lambda self, task, answer: not lines[task.id]["success"])
    first = {name for name in lines if "#" not in name}
    made, printed = check_again(tmp_path, written)
    assert made is not None
    flips = read_flips(made)
    assert {flip["task_id"] for flip in flips} >= first
    assert all(flip["old"] != flip["new"] and flip["query"] and flip["reference"] for flip in flips)
    assert f"{len(flips)} verdicts changed" in printed and "difference" in printed
    for line in read_lines(made, "results"):
        assert (line["error"] is None) == line["success"] == line["metrics"]["success"]
        if not line["success"]:
            assert line["error"]["kind"] in ("wrong_answer", "wrong_argument", "wrong_tool")


def test_a_check_that_raises_counts_as_a_failure_of_its_task_alone(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = read_lines(written, "results")[0]["task_id"].partition("#")[0]
    check = TMDBVerified.check

    def raise_once(self: TMDBVerified, task: Any, answer: str | None) -> bool | None:
        if task.id == bad:
            raise ValueError("broken")
        return check(self, task, answer)

    monkeypatch.setattr(TMDBVerified, "check", raise_once)
    made, _ = check_again(tmp_path, written)
    assert made is not None
    failed = [line for line in read_lines(made, "results") if line["error"] and line["error"]["kind"] == "internal"]
    assert {line["task_id"] for line in failed} == {bad, f"{bad}#2"} and "ValueError: broken" in failed[0]["error"][
        "message"
    ]


@pytest.mark.slow
def test_gold_paths_of_other_data_count(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = TMDBVerified.tasks
    gold = ("GET /nowhere",)
    monkeypatch.setattr(TMDBVerified, "tasks", lambda self: [replace(task, gold=gold) for task in tasks(self)])
    monkeypatch.setattr(TMDBVerified, "checksum", lambda self: "other")
    made, _ = check_again(tmp_path, finished)
    assert made is not None
    for line in read_lines(made, "results"):
        assert line["metrics"]["path_recall"] == compute_path_metrics(gold, ["GET /elsewhere"])["path_recall"] == 0


@pytest.mark.slow
def test_a_recheck_is_compared_with_another_recheck_only(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, [True, False], f"search={name}") for name in ("greedy", "chain")]
    made = [check_again(tmp_path, run)[0] for run in runs]

    def show(folders: list[Any]) -> None:
        words = (f"compare.runs=[{','.join(map(str, folders))}]", f"compare.folder={tmp_path / 'made'}")
        with redirect_stdout(io.StringIO()):
            compare(*prepare_run(tmp_path, "stage=compare", *words))

    show(made)
    with pytest.raises(ConfigError, match="checked by different checkers"):
        show([runs[0], made[1]])


@pytest.mark.slow
def test_a_judge_judges_stored_answers(tmp_path: Path) -> None:
    run = write_run(tmp_path, [True, False, None])
    with serve_in_process(judge_by_answer) as judge:
        words = ("judge=stabletoolbench", "judge.model=j", f"judge.base_url={judge.url}")
        made, printed = check_again(tmp_path, run, *words)
        asked = len(judge.requests)
        assert made is not None and asked
        again, _ = check_again(tmp_path, run, *words)
        assert again == made and len(judge.requests) == asked  # votes are kept
    content = json.loads((made / "metrics.json").read_text())
    assert "sopr" in content["metrics"] and content["judge"]["votes"] > 0 and "sopr" in printed


def refuse(*words: str, folder: Path | None = None) -> str:
    with pytest.raises((ConfigError, MissingError)) as raised:
        check_again(Path("nowhere"), folder, *words)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_folders_that_hold_no_answers_are_refused_in_one_line(tmp_path: Path) -> None:
    assert "recheck.folder is not set" in refuse()
    assert "there is no folder" in refuse(folder=tmp_path / "none")
    assert "is no run folder: there is no config.yaml" in refuse(folder=tmp_path)
    run = write_run(tmp_path, [True, False])
    text = (run / "results.jsonl").read_text()
    (run / "results.jsonl").write_text(text.replace('"task_id": "dev', '"task_id": "elsewhere'))
    assert "holds no answer to a task of this benchmark" in refuse(folder=run)
    (run / "results.jsonl").write_text("")
    assert refuse(folder=run).endswith("has no result yet")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, [True, False])
    made, printed = check_again(tmp_path, run, "dry_run=true")
    assert made is None and "2 answers would be checked" in printed and "expected" not in printed
    judge = ("judge=stabletoolbench", "judge.model=j", "judge.votes=3", "judge.second_look=null")
    made, printed = check_again(tmp_path, run, "dry_run=true", *judge)
    assert made is None and "calls: at most 6 requests of the judge" in printed
