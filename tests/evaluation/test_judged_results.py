"""Votes merged into what reports, tables and statistics read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codetool.evaluation import judged_results
from codetool.evaluation.paired_comparison import compute_differences, estimate_mean
from codetool.evaluation.summary import summarize_results
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Judgement
from codetool.judges.votes import Vote
from codetool.runs import journal


def line(task: str, **more: Any) -> dict[str, Any]:
    return {"task_id": task, "finished": True, "error": None, "metrics": {"scep": 1.0}, **more}


def judged_folder(folder: Path, labels: dict[str, list[str]]) -> Path:
    folder.mkdir()
    journal.atomic_write(folder / "results.jsonl", (journal.encode_record(line(task)) for task in labels))
    votes = {task: Judgement(tuple(Vote(label, said=label) for label in each)) for task, each in labels.items()}
    judged_results.write_judged_lines(
        folder, (judged_results.build_judged_line(JudgeInput(task, "q", "a"), each) for task, each in votes.items())
    )
    return folder


TWO = {"t1": ["Solved", "Unsure"], "t2": ["Solved", "Unsolved"]}


def test_a_result_line_has_its_votes_and_their_mean(tmp_path: Path) -> None:
    folder = judged_folder(tmp_path / "run", TWO)
    before = (folder / "results.jsonl").read_bytes()
    [first, _] = judged_results.load_result_lines(folder)
    assert first["metrics"] == {"scep": 1.0, "sopr": 0.75}
    assert first["judged"] == {"labels": ["Solved", "Unsure"], "reason": "Solved"}
    assert (folder / "results.jsonl").read_bytes() == before
    judged_results.delete_judged_lines(folder)
    assert [each["metrics"] for each in judged_results.load_result_lines(folder)] == [{"scep": 1.0}] * 2


def test_the_solve_rate_is_over_all_tasks_asked_for_with_its_three_spreads(tmp_path: Path) -> None:
    lines = list(judged_results.load_result_lines(judged_folder(tmp_path / "run", TWO)))
    found = summarize_results(lines, 4, seed=0).metrics["sopr"]
    assert found["value"] == pytest.approx(1.25 / 4) and found["n"] == 4
    assert found["low"] is not None and found["high"] is not None and found["low"] < found["high"]
    values = [0.75, 0.5, 0, 0]
    spread = sum((value - 1.25 / 4) ** 2 for value in values) / 3
    assert found["standard_error"] == pytest.approx((spread / 4) ** 0.5)
    assert found["vote_deviation"] == pytest.approx(abs(2 / 4 - 0.5 / 4) / 2)


def test_runs_are_compared_in_pairs_by_their_solve_rate(tmp_path: Path) -> None:
    one = judged_folder(tmp_path / "one", TWO)
    other = judged_folder(tmp_path / "other", {"t1": ["Unsolved", "Unsolved"], "t2": ["Solved", "Unsolved"]})
    values = [
        judged_results.get_metric_by_task(list(judged_results.load_result_lines(folder)), "sopr")
        for folder in (one, other)
    ]
    found = estimate_mean(compute_differences([(values[0], values[1])]), {})
    assert found is not None and found.value == pytest.approx(0.375) and found.tasks == 2


def test_wins_ties_and_losses_stand_beside_the_win_rate() -> None:
    lines = [
        line(f"t{place}", judged={"labels": ["Solved"], "preference": said}, metrics={"sopr": 1.0, "sowr": points})
        for place, (said, points) in enumerate([("win", 1.0), ("tie", 0.5), ("win", 1.0), ("loss", 0.0)])
    ]
    found = summarize_results(lines, 4, seed=0).metrics["sowr"]
    assert (found["value"], found["win"], found["tie"], found["loss"]) == (0.625, 2, 1, 1)
