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
    """How examples are split into forward passes and updates; a process takes every `world`-th pass of an update."""

    batching: Batching
    tokens: int
    """Of one pass at most."""
    accumulate: int
    """Passes of an update, in each process."""
    seed: int
    world: int = 1
    rank: int = 0


class EpochBatches:
    """The passes of one epoch, which can go on in the middle of it."""

    def __init__(self, passes: Sequence[Sequence[Pack]], plan: EpochPlan) -> None:
        """Every process gets as many passes as the others: the last ones may get one that counts for nothing."""
        self._passes, self._plan = passes, plan
        self._done = 0

    def __len__(self) -> int:
        """Passes of this process."""
        return -(-len(self._passes) // self._plan.world)

    def __iter__(self) -> Iterator[TrainBatch]:
        """The passes that are left."""
        plan = self._plan
        together = plan.world * plan.accumulate
        for i in range(self._done, len(self)):
            own = i * plan.world + plan.rank
            first = own - own % together
            total = sum(row.weight for rows in self._passes[first : first + together] for row in rows)
            self._done = i + 1
            yield (
                build_batch(self._passes[own], total)
                if own < len(self._passes)
                else _make_padding_batch(self._passes[-1], total)
            )
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._done = state["done"]


class TrainDataModule(lightning.LightningDataModule):
    """Training and validation examples, arranged in batches."""

    def __init__(self, examples: Sequence[SFTExample], validation: Sequence[SFTExample], plan: EpochPlan) -> None:
        """Examples of one task are kept together in both."""
        super().__init__()
        self._groups, self._held = _group_by_task(examples), _group_by_task(validation)
        self._plan = plan

    def passes(self, epoch: int) -> list[list[Pack]]:
        """The passes of an epoch, of all processes, in its own random order."""
        return _shuffle_passes(self._groups, self._plan, epoch)

    def updates(self, epochs: int) -> int:
        """Updates of all epochs together."""
        together = self._plan.world * self._plan.accumulate
        return sum(-(-len(self.passes(epoch)) // together) for epoch in range(epochs))

    def train_dataloader(self) -> EpochBatches:
        """The current epoch's passes."""
        assert self.trainer is not None
        return EpochBatches(self.passes(self.trainer.current_epoch), self._plan)

    def validation(self) -> EpochBatches | None:
        """The validation passes, in the order of the examples; None without any."""
        return (
            EpochBatches(arrange_rows(self._held, self._plan.batching, self._plan.tokens), self._plan)
            if self._held
            else None
        )


def _make_padding_batch(rows: Sequence[Pack], total: float) -> TrainBatch:
    """A pass that weighs nothing, for a process that must take part in what the others do."""
    made = build_batch(rows, total)
    return replace(
        made,
        weights=torch.zeros_like(made.weights),
        example_indices=(-1,) * len(made.example_indices),
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
