"""Lightning data module: the batches of every epoch, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as lightning
import torch

from codetool.training.batch import Batching, TrainBatch, arrange_rows, build_batch
from codetool.training.packing import Pack
from codetool.training.sft_examples import SFTExample


@dataclass(frozen=True)
class EpochPlan:
    """Settings that split examples into forward passes and updates; each process takes every `world`-th pass."""

    batching: Batching
    """How examples share a forward pass."""
    tokens: int
    """Maximum number of tokens of one pass."""
    accumulate: int
    """Number of passes that each process makes in one update."""
    seed: int
    """Seed of the order of the examples."""
    world: int = 1
    """Number of processes."""
    rank: int = 0
    """Index of this process, from 0."""


class EpochBatches:
    """The forward passes of one epoch; iteration can resume in the middle of the epoch."""

    def __init__(self, passes: Sequence[Sequence[Pack]], plan: EpochPlan) -> None:
        """Take the passes of all processes; every process gets the same number, if needed with one of weight 0."""
        self._passes, self._plan = passes, plan
        self._done = 0

    def __len__(self) -> int:
        """Return the number of passes of this process."""
        return -(-len(self._passes) // self._plan.world)

    def __iter__(self) -> Iterator[TrainBatch]:
        """Yield the passes of this process that have not been made yet."""
        plan = self._plan
        passes_per_update = plan.world * plan.accumulate
        for i in range(self._done, len(self)):
            index = i * plan.world + plan.rank
            first = index - index % passes_per_update
            total = sum(row.weight for rows in self._passes[first : first + passes_per_update] for row in rows)
            self._done = i + 1
            yield (
                build_batch(self._passes[index], total)
                if index < len(self._passes)
                else _make_padding_batch(self._passes[-1], total)
            )
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of passes made, to resume the epoch from."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the passes that `state` counts."""
        self._done = state["done"]


class TrainDataModule(lightning.LightningDataModule):
    """Lightning data module that arranges training and validation examples in batches."""

    def __init__(self, examples: Sequence[SFTExample], validation: Sequence[SFTExample], plan: EpochPlan) -> None:
        """Group the examples of both sets by task, so that those of one task stay together."""
        super().__init__()
        self._groups, self._held = _group_by_task(examples), _group_by_task(validation)
        self._plan = plan

    def passes(self, epoch: int) -> list[list[Pack]]:
        """Return the passes of all processes in an epoch, in a random order that depends on the seed and the epoch."""
        return _shuffle_passes(self._groups, self._plan, epoch)

    def updates(self, epochs: int) -> int:
        """Return the total number of updates in `epochs` epochs."""
        passes_per_update = self._plan.world * self._plan.accumulate
        return sum(-(-len(self.passes(epoch)) // passes_per_update) for epoch in range(epochs))

    def train_dataloader(self) -> EpochBatches:
        """Return the passes of the current epoch."""
        assert self.trainer is not None
        return EpochBatches(self.passes(self.trainer.current_epoch), self._plan)

    def validation(self) -> EpochBatches | None:
        """Return the validation passes in the order of the examples, or None if there are no validation examples."""
        return (
            EpochBatches(arrange_rows(self._held, self._plan.batching, self._plan.tokens), self._plan)
            if self._held
            else None
        )


def _make_padding_batch(rows: Sequence[Pack], total: float) -> TrainBatch:
    """Return a pass whose targets all have weight 0, for a process that has no pass left but must take part."""
    batch = build_batch(rows, total)
    return replace(
        batch,
        weights=torch.zeros_like(batch.weights),
        example_indices=(-1,) * len(batch.example_indices),
        examples=0,
        num_tokens=0,
    )


def _group_by_task(examples: Sequence[SFTExample]) -> list[list[SFTExample]]:
    groups: dict[str, list[SFTExample]] = {}
    for example in examples:
        groups.setdefault(example.task_id, []).append(example)
    return list(groups.values())


def _shuffle_passes(groups: list[list[SFTExample]], plan: EpochPlan, epoch: int) -> list[list[Pack]]:
    order = random.Random(f"{plan.seed} {epoch}")
    shuffled = list(groups)
    order.shuffle(shuffled)
    passes = arrange_rows(shuffled, plan.batching, plan.tokens)
    order.shuffle(passes)
    return passes
