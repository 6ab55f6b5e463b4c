"""The batches of every epoch, the same whenever and wherever they are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytorch_lightning as lightning
import torch

from codetool.training.batch import Batch, Batching, batch, rows_of
from codetool.training.packing import Pack
from codetool.training.sft_examples import Example


@dataclass(frozen=True)
class Plan:
    """How examples become passes and updates; a process takes every `world`-th pass of an update."""

    batching: Batching
    tokens: int
    """Of one pass at most."""
    accumulate: int
    """Passes of an update, in each process."""
    seed: int
    world: int = 1
    rank: int = 0


class Batches:
    """The passes of one epoch, which can go on in the middle of it."""

    def __init__(self, passes: Sequence[Sequence[Pack]], plan: Plan) -> None:
        """Every process gets as many passes as the others: the last ones may get one that counts for nothing."""
        self._passes, self._plan = passes, plan
        self._done = 0

    def __len__(self) -> int:
        """Passes of this process."""
        return -(-len(self._passes) // self._plan.world)

    def __iter__(self) -> Iterator[Batch]:
        """The passes that are left."""
        plan = self._plan
        together = plan.world * plan.accumulate
        for i in range(self._done, len(self)):
            own = i * plan.world + plan.rank
            first = own - own % together
            total = sum(row.weight for rows in self._passes[first : first + together] for row in rows)
            self._done = i + 1
            yield batch(self._passes[own], total) if own < len(self._passes) else _idle(self._passes[-1], total)
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._done = state["done"]


class Data(lightning.LightningDataModule):
    """Examples to train on, and examples to validate on."""

    def __init__(self, examples: Sequence[Example], validation: Sequence[Example], plan: Plan) -> None:
        """Examples of one task are kept together in both."""
        super().__init__()
        self._groups, self._held = _by_task(examples), _by_task(validation)
        self._plan = plan

    def passes(self, epoch: int) -> list[list[Pack]]:
        """The passes of an epoch, of all processes, in its own random order."""
        return _shuffled(self._groups, self._plan, epoch)

    def updates(self, epochs: int) -> int:
        """Updates of all epochs together."""
        together = self._plan.world * self._plan.accumulate
        return sum(-(-len(self.passes(epoch)) // together) for epoch in range(epochs))

    def train_dataloader(self) -> Batches:
        """The current epoch's passes."""
        assert self.trainer is not None
        return Batches(self.passes(self.trainer.current_epoch), self._plan)

    def validation(self) -> Batches | None:
        """The validation passes, in the order of the examples; None without any."""
        return Batches(rows_of(self._held, self._plan.batching, self._plan.tokens), self._plan) if self._held else None


def _idle(rows: Sequence[Pack], total: float) -> Batch:
    """A pass that weighs nothing, for a process that must take part in what the others do."""
    made = batch(rows, total)
    return replace(made, weights=torch.zeros_like(made.weights), numbers=(-1,) * len(made.numbers), examples=0, read=0)


def _by_task(examples: Sequence[Example]) -> list[list[Example]]:
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.task_id, []).append(example)
    return list(groups.values())


def _shuffled(groups: list[list[Example]], plan: Plan, epoch: int) -> list[list[Pack]]:
    order = random.Random(f"{plan.seed} {epoch}")
    shuffled = list(groups)
    order.shuffle(shuffled)
    passes = rows_of(shuffled, plan.batching, plan.tokens)
    order.shuffle(passes)
    return passes
