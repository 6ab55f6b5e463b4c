"""The targets that the settings of stage=train choose for each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import training_jobs

from codetool.model_types import ProcessExample
from codetool.stages.train.prm_targets import choose_targets


def step(node: str, soft: float, *, ran: bool = True, label: bool | None = None, times: int = 1) -> ProcessExample:
    group = node.rpartition("-")[0] or "0"
    return ProcessExample("t", node, group, (), "", ran, soft, soft > 0, 0.9, label, times)


# 1 did not run, 2 ran and was wrong, 3 is right; below 3 nothing ran, but 3-2 led to success; below 2 all failed.
STEPS = [
    step("1", 0.0, ran=False, label=False, times=2), step("2", 0.0, label=False), step("3", 0.25, label=True),
    step("2-1", 0.0, ran=False), step("3-1", 0.0, ran=False, label=False), step("3-2", 0.5, ran=False, label=True),
]  # fmt: skip


def chosen(folder: Path, *words: str) -> list[Any]:
    return choose_targets(STEPS, training_jobs.config(folder, folder, folder, *words).train)


def test_negatives_that_did_not_run_weigh_less_or_are_left_out(tmp_path: Path) -> None:
    def weights(*words: str) -> list[float | None]:
        return [target and target.weight for target in chosen(tmp_path, *words)]

    assert weights() == [2.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert weights("train.failed_negatives=0.5") == [1.0, 1.0, 1.0, 0.5, 0.5, 1.0]
    assert weights("train.failed_negatives=0") == [None, 1.0, 1.0, None, None, 1.0]
    assert weights("train.failed_negatives=0", "train.labels=hard") == [None, 1.0, 1.0, None, None, 1.0]


def test_pairs_are_of_the_steps_that_are_left(tmp_path: Path) -> None:
    words = ("train.failed_negatives=0", "train.loss=pairs", "train.pairs_weight=1")
    assert [target and target.group for target in chosen(tmp_path, *words)] == [None, "0 0", "0 0", None, None, None]


def test_temporal_differences_are_computed_on_the_whole_tree(tmp_path: Path) -> None:
    words = ("train.soft_target=td", "train.td_lambda=1", "train.td_gamma=0.8")
    values = [target and target.value for target in chosen(tmp_path, *words, "train.failed_negatives=0")]
    assert values == [None, 0.0, pytest.approx(0.8 * 0.25), None, None, 0.5]
    [*_, last] = chosen(tmp_path, *words, "train.soft_target=progress", "train.progress_weight=1", "train.td_spot=0.5")
    assert last.value == pytest.approx(0.5 * (1 + 0.5 - 0.2) / 2)
