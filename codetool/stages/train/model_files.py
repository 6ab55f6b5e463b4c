"""Write the files of a trained model: its weights, prompt, tasks trained on and model card, and the run's metrics."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetool.config.invocation import name_program
from codetool.credentials.masking import mask_command
from codetool.prompts import trained_prompt
from codetool.runs.provenance import count_results_by_code
from codetool.stages.train import model_card, train_dataset, train_messages, trained_on, training_prompt
from codetool.stages.train.train_dataset import TrainDataset
from codetool.stages.train.train_run import TrainRun, build_job

if TYPE_CHECKING:
    from codetool.training.train_job import TrainJob


def export_model(run: TrainRun, job: TrainJob, path: Path, material: TrainDataset) -> None:
    """Write the model of the best checkpoint, and then the metrics, which say that the run is finished."""
    from codetool.training import export
    from codetool.training.checkpoint_files import LAST, count_updates, find_best_checkpoint

    checkpoint = find_best_checkpoint(job.checkpoints / LAST)
    tokenizer = run.labels.tokenizer if run.labels else None
    made = export.export(job, checkpoint, model_card.name_base_model(run.config, run.base_model), tokenizer)
    counts = {
        "examples": len(material.training),
        "validation_examples": len(material.validation),
        "tasks": material.tasks[0],
        "validation_tasks": material.tasks[1],
        "left_out": material.too_long,
    }
    folders = [made, export.export_merged(job, made)] if run.config.train.save_merged else [made]
    metrics = model_card.collect_metrics(path, counts, count_updates(checkpoint))
    train_messages.warn_of_missing_validation(metrics)
    content = {**metrics, "code": count_results_by_code(path)}
    for folder in folders:
        _write_companion_files(run, path, folder, content)
    model_card.write_metrics(path, content, run.config.figures)


def _write_companion_files(run: TrainRun, path: Path, folder: Path, content: Mapping[str, Any]) -> None:
    """Write the files beside the weights: the prompt, the tasks trained on, and the model card."""
    if (prompt := training_prompt.find_training_prompt(run.config, run.sources)) is not None:
        sees = run.config.train.target == "prm" and getattr(run.config.prm, "sees_observation", False)
        trained_prompt.save_prompt_record(folder, prompt, sees_observation=sees)
    command = f"{name_program()} {shlex.join(mask_command(run.overrides))}"
    usage = run.usage(path, folder.name)
    settings = run.config.train
    trained_on.write_training_tasks(
        folder,
        *train_dataset.list_task_ids(run.config),
        [*settings.files, *settings.val_files],
        [
            earlier
            for path in (run.start, run.base_model.base)
            if path and (earlier := trained_on.read_training_tasks(path))
        ],
    )
    model_card.write_card(folder, run.config, run.base_model, run.sources, content, command, usage)


def merge_again(run: TrainRun, path: Path) -> bool:
    """Write the merged model if it is missing, and return whether it was."""
    from codetool.training import export

    if (path / export.MERGED).is_dir():
        return False
    job = build_job(run, path, TrainDataset([], [], [], (0, 0), 0))
    folder = export.export_merged(job, path / export.ADAPTER)
    _write_companion_files(run, path, folder, json.loads((path / model_card.METRICS).read_text()))
    return True
