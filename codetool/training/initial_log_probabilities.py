"""Log-probabilities of the steps under the policy that training starts from, computed once and kept in a file.

A new adapter changes nothing at first, so that this policy is the base then; with `tuning.init_adapter` it is the base
with that adapter, and with `tuning=full` the weights at the start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from codetool.runs import journal
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.packing import Pack
from codetool.training.train_job import TrainJob

INITIAL_FILE = "initial_log_probabilities.safetensors"
log = logging.getLogger(__name__)
Table = dict[int, Tensor]
"""For each step, by its number, the log-probability of each of its tokens, on the CPU."""


def ensure_initial_log_probabilities(job: TrainJob, module: Any, trainer: Any) -> None:
    """Give the module the log-probabilities of the initial policy, if its loss reads them.

    They are read from the file of an earlier session, or computed by the module before its first update, or by a model
    that is loaded anew if the file of a training under way is missing.
    """
    if job.step_loss is None or not job.step_loss.reads_initial:
        return
    file, counts = job.checkpoints / INITIAL_FILE, _count_tokens(job)
    if (table := _load(file, counts)) is None:
        trained = module.trained if trainer.ckpt_path is None else job.load().to(module.device)
        started = time.monotonic()
        with _without_dropout(trained), torch.no_grad(), trainer.precision_plugin.forward_context():
            table = _compute(job, trained, module.device, trainer)
        if trainer.is_global_zero:
            values = torch.cat([table[step] for step in sorted(table)])
            journal.atomic_write(file, [save({"log_probabilities": values})])
            log.info(
                "log-probabilities of the initial policy: %s tokens of %s steps in %.0f s",
                f"{len(values):,}",
                f"{len(table):,}",
                time.monotonic() - started,
            )
    module.initial = table


def _count_tokens(job: TrainJob) -> dict[int, int]:
    """Return the number of tokens of each step, by its number."""
    examples = (*job.training, *job.validation)
    return dict(sorted((example.targets[0].example_index, len(example.targets)) for example in examples))


def _load(file: Path, counts: dict[int, int]) -> Table | None:
    try:
        values = load_file(file)["log_probabilities"]
    except (OSError, SafetensorError, KeyError):
        return None
    if len(values) != sum(counts.values()):
        return None
    return dict(zip(counts, values.split(list(counts.values())), strict=True))


def _compute(job: TrainJob, trained: Any, device: torch.device, trainer: Any) -> Table:
    """Compute the table; every process computes a share of the passes, and gets the others'."""
    passes = [rows for examples in (job.training, job.validation) if examples for rows in _arrange(job, examples)]
    rank, world = trainer.global_rank, trainer.world_size
    table: Table = {}
    for i in range(-(-len(passes) // world)):  # as many in each process, as a model in shards needs it
        batch = build_batch(passes[min(i * world + rank, len(passes) - 1)], 1.0).to(device)
        logits = trained.logits(trained(batch)).float()
        values = -F.cross_entropy(logits, batch.target_tokens, reduction="none").cpu()
        start = 0
        for step, members in groupby(batch.example_indices):
            count = sum(1 for _ in members)
            table[step], start = values[start : start + count], start + count
    if world > 1:
        results: list[Table] = [{}] * world
        torch.distributed.all_gather_object(results, table)
        table = {step: values for part in results for step, values in part.items()}
    return table


def _arrange(job: TrainJob, examples: Sequence[Any]) -> list[list[Pack]]:
    by_task: dict[str, list[Any]] = {}
    for example in examples:
        by_task.setdefault(example.task_id, []).append(example)
    return arrange_rows(list(by_task.values()), job.settings.batching, job.settings.max_tokens_per_batch)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
