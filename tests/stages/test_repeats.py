"""`repeats=k`: the files of a run, further repeats in the same folder, resuming, exporting and replaying them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, chat, serve_in_process
from command_line import read_lines
from in_process import evaluate_run, prepare_run, remove_seconds, scripted
from scripted_policy import scripted_server

from codetool.errors import ConfigError
from codetool.results import load
from codetool.stages.evaluate.run import run
from codetool.stages.judge.judge import judge
from codetool.stages.report import report
from codetool.stages.wandb_content import build_task_content

SEARCH = ("search=greedy", "search.n=2", "limit=2")


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """A copy of the folder of a run of two tasks, the folder after two further repeats, and the requests of those."""
    outputs = tmp_path_factory.mktemp("repeats")
    with scripted_server() as policy:
        first = evaluate_run(outputs, *scripted(policy), *SEARCH)
        copy = outputs / "alone" / first.folder.name
        shutil.copytree(first.folder, copy)
        asked = len(policy.requests)
        grown = evaluate_run(outputs, *scripted(policy), *SEARCH, "repeats=3", "export=reference")
    assert first.folder == grown.folder
    return copy, grown.folder, len(policy.requests) - asked


def by_id(folder: Path, name: str) -> dict[str, Any]:
    return {line["task_id"]: remove_seconds(line) for line in read_lines(folder, name)}


def test_more_repeats_go_on_in_the_same_folder_and_the_first_ones_stay(repeated: tuple[Path, Path, int]) -> None:
    alone, folder, asked = repeated
    ids = list(by_id(alone, "results"))
    assert len(ids) == 2 and asked > 0
    for name in ("results", "trees"):
        once, thrice = by_id(alone, name), by_id(folder, name)
        assert thrice.keys() == {*ids, *(f"{task}#{k}" for k in (2, 3) for task in ids)}
        assert {task: thrice[task] for task in ids} == once
    assert {line.get("repeat") for line in read_lines(folder, "results")} == {None, 2, 3}
    seeds = {line["task_id"] for line in read_lines(folder, "candidates")}
    assert seeds == set(by_id(folder, "results"))


def test_the_summary_the_export_and_wandb_know_them(repeated: tuple[Path, Path, int]) -> None:
    _, folder, _ = repeated
    content = json.loads((folder / "metrics.json").read_text())
    assert content["tasks"]["asked"] == 6 and content["tasks"]["repeats"] == 3
    assert {"pass@2", "pass^2", "pass@3", "pass^3"} <= content["metrics"].keys()
    assert content["metrics"]["success"]["n"] == 2
    files = [path.relative_to(folder / "reference") for path in (folder / "reference").rglob("final_answer/**/*.json")]
    assert {path.parts[0] for path in files} == {"final_answer", "repeat-2", "repeat-3"}
    assert len({path.name for path in files}) == 2  # the benchmark's own ids
    tasks = load(folder).tasks
    assert list(tasks.groupby("task").repeat.apply(sorted)) == [[1, 2, 3]] * 2
    table = build_task_content(folder, list(by_id(folder, "results"))).tables["tasks"]
    assert table.columns[-1] == "repeat" and sorted(row[-1] for row in table.rows) == [1, 1, 2, 2, 3, 3]


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_its_report_counts_what_is_missing(
    repeated: tuple[Path, Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, _ = repeated
    results = (folder / "results.jsonl").read_bytes()
    kept = results.splitlines(keepends=True)
    (folder / "results.jsonl").write_bytes(b"".join(kept[:3]))
    config, choices, console = prepare_run(folder, "stage=report", f"report.folder={folder}")
    report(config, choices, console)
    assert "3 of 6 tasks" in capsys.readouterr().out
    with scripted_server() as policy:
        again = evaluate_run(folder.parent.parent, *scripted(policy), *SEARCH, "repeats=3")
        assert again.folder == folder and not policy.requests  # the candidates were there
    assert by_id(folder, "results").keys() == {json.loads(line)["task_id"] for line in kept}


@pytest.mark.slow
def test_a_replay_repeats_the_repeats(repeated: tuple[Path, Path, int], tmp_path: Path) -> None:
    _, folder, _ = repeated
    words = (
        "policy=replay",
        f"policy.source=[{folder}]",
        "prm=none",
        "search=greedy",
        "search.n=2",
        "benchmark.split=dev",
    )
    outcome = evaluate_run(tmp_path, *words, "limit=2", "repeats=3")
    assert by_id(outcome.folder, "trees") == by_id(folder, "trees")


@pytest.mark.slow
def test_fewer_repeats_than_the_folder_has_leave_its_files(
    repeated: tuple[Path, Path, int], policy: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, _ = repeated
    before = (folder / "metrics.json").read_bytes()
    run(*prepare_run(folder.parent.parent, *scripted(policy), *SEARCH))
    assert (folder / "metrics.json").read_bytes() == before
    assert "larger result, 6 tasks" in capsys.readouterr().out.replace("\n", " ")


def judge_by_answer(body: dict[str, Any]) -> Reply:
    """Solved are all answers, and the first one of two is better."""
    return chat("first" if "First answer" in body["messages"][0]["content"] else "Solved")


@pytest.mark.slow
def test_each_repeat_is_judged_and_compared_with_the_only_answer_of_a_reference(
    repeated: tuple[Path, Path, int], tmp_path: Path
) -> None:
    alone, folder, _ = repeated
    with serve_in_process(judge_by_answer) as server:
        words = ("stage=judge", "judge=stabletoolbench", "judge.model=j", f"judge.base_url={server.url}")
        named = (f"judge_stage.folder={folder}", f"judge_stage.reference={alone}")
        config, choices, console = prepare_run(tmp_path, *words, *named)
        outcome = judge(config, choices, console)
    lines = read_lines(outcome.folder, "judged")
    assert {line["task_id"] for line in lines} == by_id(folder, "results").keys()
    assert all(line["reference_answer"] for line in lines)
    metrics = json.loads((outcome.folder / "metrics.json").read_text())["metrics"]
    assert (metrics["sopr"]["value"], metrics["sopr"]["n"], metrics["sowr"]["n"]) == (1.0, 2, 2)


@pytest.mark.parametrize("value", ["0", "1.5", "null"])
def test_other_numbers_are_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"repeats"):
        prepare_run(tmp_path, f"repeats={value}")
