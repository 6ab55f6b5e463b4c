"""Cells of studies that choose among subsets of recorded chains, on a tree written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from study import CellRun, Plan, Study
from study_result import collect_result
from subsampling import Subsample, measure_subsets

from codetool.benchmarks import tmdb_verified

ROW = next(
    row for row in tmdb_verified.load_all_rows() if row["id"].startswith("dev-") and row["answer"]["type"] == "number"
)
RIGHT = str(ROW["answer"]["value"])
WRONG = str(ROW["answer"]["value"] + 1)


def step(name: str, parent: str, printed: str, latent: float, cumulative: float, **others: Any) -> dict[str, Any]:
    """A step of the tree; `tokens_out` is 10."""
    execution = {"status": "ok", "observation": printed, "error": None, "seconds": 0.0, "calls": []}
    node = {"id": name, "parent": parent, "depth": 1 + (parent != "0"), "text": name, "code": f"print({printed!r})"}
    node |= {"execution": execution, "spot": 1.0, "latent": latent, "cumulative": cumulative, "multiplicity": 1}
    return node | {"finished": True, "log_probability": -1.0, "tokens_out": 10} | others


NODES = [
    step("1", "0", WRONG, 0.9, 1.9, multiplicity=1),
    step("2", "0", RIGHT, 0.6, 1.6, multiplicity=2, log_probability=-0.1),
    step("3", "0", "", 0.5, 1.5, finished=False, multiplicity=1),
    step("3.1", "3", WRONG + "1", 0.2, 2.7),
]  # four chains: one wrong, two that end at the same right step, and one of two steps that is wrong
PROMPTS = [("0", 100), ("3", 120)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    metrics = {"tokens_in": 440, "tokens_out": 100, "prm_tokens": 80, "scep": 1.0, "tool_calls": 0}
    line = {"task_id": ROW["id"], "success": False, "path": ["3", "3.1"], "metrics": metrics, "error": None}
    candidates = [{"task_id": ROW["id"], "path": path, "tokens_in": tokens} for path, tokens in PROMPTS]
    for name, records in (
        ("results", [line]), ("trees", [{"task_id": ROW["id"], "nodes": NODES}]), ("candidates", candidates),
    ):  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def measure(folder: Path, n: int, select: str, **others: Any) -> dict[str, float]:
    """The means over the subsets of n of the four chains."""
    subsample = Subsample(cell="run", n=n, select=select, **others)  # type: ignore[arg-type]
    return dict(measure_subsets(folder, subsample)[ROW["id"]])


@pytest.mark.parametrize(
    ("n", "select", "success"),
    [
        (1, "reward", 1 / 2),  # two of the four chains are right
        (2, "reward", 1 / 6),  # of six pairs, only that of both right chains
        (4, "reward", 0),
        (1, "oracle", 1 / 2),
        (2, "oracle", 5 / 6),  # all pairs but that of both wrong chains
        (4, "vote", 1),  # two votes against one and one
        (4, "weighted_vote", 1),  # 3.2 against 1.9 and 2.7
        (3, "vote", 1 / 2),  # right where both right chains are in, which two of the four triples hold
        (9, "oracle", 1),  # no more chains than there are
    ],
)  # fmt: skip
def test_success_is_the_mean_over_all_subsets(folder: Path, n: int, select: str, success: float) -> None:
    assert measure(folder, n, select)["success"] == pytest.approx(success)


def test_all_chains_cost_what_the_run_cost(folder: Path) -> None:
    whole = measure(folder, 4, "reward")
    assert (whole["policy_tokens"], whole["prm_tokens"], whole["tokens"]) == (540, 80, 620)


def test_the_cost_of_a_subset_is_its_share_of_prompts_answers_and_scored_steps(folder: Path) -> None:
    """Counted by hand: all chains read 100 + 120 tokens and write 50, so that 270 stand for the 540 of the run.

    A chain of one step costs 100 + 10, that of two steps 100 + 120 + 20. Three of the four chains have one step, of
    four scored steps in all; the other has two.
    """
    one = measure(folder, 1, "reward")
    assert one["policy_tokens"] == pytest.approx((3 * 110 + 240) / 4 * 540 / 270)
    assert one["prm_tokens"] == pytest.approx((3 * 1 + 2) / 4 * 80 / 4)
    assert measure(folder, 1, "oracle")["prm_tokens"] == 0


@pytest.mark.parametrize(
    ("reward", "success", "prm_tokens"),
    [
        ({"spot": 1, "latent": 1, "aggregate": "mean"}, 0, 80),  # the wrong chain of one step, 1.9
        ({"spot": 0, "latent": 1, "aggregate": "min"}, 0, 80),
        ({"spot": 0, "latent": 0, "aggregate": "mean", "certainty": 1}, 1, 0),  # exp(-0.01) beats exp(-0.1); no PRM
    ],
)
def test_another_reward_chooses_anew(folder: Path, reward: dict[str, Any], success: float, prm_tokens: float) -> None:
    found = measure(folder, 4, "reward", reward=reward)
    assert found["success"] == success
    assert found["prm_tokens"] == prm_tokens


def test_a_cell_of_subsets_stands_beside_the_others(folder: Path) -> None:
    cells = {
        "run": {"title": "t", "options": ["search=best_of_n", "search.n=4"]},
        "two": {"title": "t", "subsample": {"cell": "run", "n": 2, "select": "oracle"}},
    }
    study = Study.model_validate({"name": "s", "question": "?", "cells": cells, "differences": [["two", "run"]]})
    run = CellRun("run", study.cells["run"], 0, (), folder)
    found = collect_result("command", Plan(study, "dev", None, (0,), folder), [run], [])
    assert found["cells"]["two"]["success"]["all"]["value"] == pytest.approx(5 / 6)
    assert found["differences"][0]["success"]["all"]["value"] == pytest.approx(5 / 6)
    assert found["cells"]["two"]["subsample"] == {"cell": "run", "n": 2, "select": "oracle"}


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"title": "t"}, "either options or subsample"),
        ({"title": "t", "subsample": {"cell": "other", "n": 2, "select": "vote"}}, "other: no such cell"),
        ({"title": "t", "subsample": {"cell": "beam", "n": 2, "select": "vote"}}, "beam has no chains"),
        ({"title": "t", "subsample": {"cell": "beam", "n": 0, "select": "vote"}}, "greater than 0"),
    ],
)
def test_a_cell_without_chains_to_read_is_refused(cell: dict[str, Any], message: str) -> None:
    cells = {"beam": {"title": "t", "options": ["search=beam"]}, "few": cell}
    with pytest.raises(ValidationError, match=message):
        Study.model_validate({"name": "s", "question": "?", "cells": cells})
