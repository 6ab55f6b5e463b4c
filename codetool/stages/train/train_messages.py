"""What stage=train prints: its examples, its result, and a warning if nothing was validated."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.stages.train import model_card
from codetool.stages.train.train_dataset import TrainDataset
from codetool.stages.train.train_run import TrainRun

log = logging.getLogger(__name__)


def announce(run: TrainRun, material: TrainDataset, updates: int) -> None:
    """Print how much is trained and validated on."""
    training, validation = (
        f"{_count(len(some), 'example')} of {_count(tasks, 'task')}, {sum(len(each.tokens) for each in some):,} tokens"
        for some, tasks in zip((material.training, material.validation), material.tasks, strict=True)
    )
    if not material.validation:
        validation = "none"
    run.say(f"training: {training}; validation: {validation}; {_count(updates, 'update')}")
    if material.summary:
        run.say(material.summary)
    if material.too_long:
        run.say(f"{_count(material.too_long, 'example')} left out: longer than train.max_length or the model's context")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def warn_of_missing_validation(metrics: Mapping[str, Any]) -> None:
    """Log a warning if there are validation data, and training ended before the first validation."""
    if metrics["counts"]["validation_examples"] and not metrics["metrics"]:
        log.warning(
            "Nothing was validated: training ended before the first validation (trainer.val_check_interval, "
            "trainer.check_val_every_n_epoch, trainer.limit_val_batches). The weights are those of update %d.",
            metrics["weights_step"],
        )


def print_result(run: TrainRun, path: Path) -> None:
    """Print the metrics, the folder, and the overrides that use the trained model."""
    content = json.loads((path / model_card.METRICS).read_text())
    out = Console()
    found = {**content["metrics"], "loss at the end": content["loss"]}
    lines = ["  ".join(f"{name} {value:.4g}" for name, value in found.items()), f"files in {path}"]
    names = [run.made, "merged"] if (path / "merged").is_dir() else [run.made]
    lines += [f"use it: {run.usage(path, name)}" for name in names]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
