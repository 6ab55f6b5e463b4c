"""Lightning data module: the batches of every epoch, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytorch_lightning as lightning
import torch

from codetool.errors import ConfigError
from codetool.training.batch import Batching, TrainBatch, arrange_rows, build_batch
from codetool.training.packing import Pack
from codetool.training.sft_examples import SFTExample
from codetool.training.sibling_pairs import sum_pair_weights


@dataclass(frozen=True)
class Share:
    """The forward passes of one of several processes: every `world`-th one."""

    world: int = 1
    """Number of processes."""
    rank: int = 0
    """Index of this process, from 0."""
    accumulate: int = 1
    """Number of passes that each process makes in one update."""


class EpochBatches:
    """The forward passes of one epoch; iteration can resume in the middle of the epoch."""

    def __init__(self, passes: Sequence[Sequence[Pack]], share: Share) -> None:
        """Take the passes of all processes; every process gets the same number, if needed with one of weight 0."""
        self._passes, self._share = passes, share
        self._done = self._resume_at = 0

    def __len__(self) -> int:
        """Return the number of passes of this process."""
        return -(-len(self._passes) // self._share.world)

    def __iter__(self) -> Iterator[TrainBatch]:
        """Yield the passes of this process; after `load_state_dict`, those that have not been made yet."""
        share = self._share
        passes_per_update = share.world * share.accumulate
        start, self._resume_at = self._resume_at, 0
        for i in range(start, len(self)):
            index = i * share.world + share.rank
            first = index - index % passes_per_update
            update = self._passes[first : first + passes_per_update]
            totals = sum(row.weight for rows in update for row in rows), sum(map(sum_pair_weights, update))
            self._done = i + 1
            yield (
                build_batch(self._passes[index], *totals)
                if index < len(self._passes)
                else _make_padding_batch(self._passes[-1], *totals)
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the number of passes made, to resume the epoch from."""
        return {"done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the passes that `state` counts."""
        self._done = self._resume_at = state["done"]


class TrainDataModule(lightning.LightningDataModule):
    """Lightning data module that arranges training and validation examples in batches.

    The passes of an epoch are packed anew, and their number differs from epoch to epoch, so that it needs
    `Trainer(reload_dataloaders_every_n_epochs=1, use_distributed_sampler=False)`.
    """

    def __init__(
        self,
        examples: Sequence[SFTExample],
        validation: Sequence[SFTExample] = (),
        *,
        batching: Batching = "tree",
        max_tokens: int,
        seed: int = 0,
    ) -> None:
        """Group the examples of both sets by task, so that those of one task stay together.

        `max_tokens` is the maximum number of tokens of a forward pass, `seed` that of the order of the examples.
        """
        super().__init__()
        self._groups, self._held = _group_by_task(examples), _group_by_task(validation)
        self._batching, self._max_tokens, self._seed = batching, max_tokens, seed

    def setup(self, stage: str) -> None:
        """Check the arguments of the trainer. Raises ConfigError if it would not read the passes as they are made."""
        assert self.trainer is not None
        if stage == "fit" and getattr(self.trainer, "reload_dataloaders_every_n_epochs", 0) != 1:
            raise ConfigError("Trainer(reload_dataloaders_every_n_epochs=…): should be 1, every epoch has other passes")

    def passes(self, epoch: int) -> list[list[Pack]]:
        """Return the passes of all processes in an epoch, in a random order that depends on the seed and the epoch."""
        order = random.Random(f"{self._seed} {epoch}")
        shuffled = list(self._groups)
        order.shuffle(shuffled)
        passes = arrange_rows(shuffled, self._batching, self._max_tokens)
        order.shuffle(passes)
        return passes

    def train_dataloader(self) -> EpochBatches:
        """Return the passes of the current epoch."""
        trainer = self.trainer
        assert trainer is not None
        passes = self.passes(trainer.current_epoch)
        if isinstance(trainer.limit_train_batches, int):  # the last update's weight is that of the passes it is made of
            passes = passes[: trainer.limit_train_batches * trainer.world_size]
        return EpochBatches(passes, Share(trainer.world_size, trainer.global_rank, trainer.accumulate_grad_batches))

    def val_dataloader(self) -> EpochBatches:
        """Return the validation passes in the order of the examples."""
        assert self.trainer is not None
        passes = arrange_rows(self._held, self._batching, self._max_tokens)
        return EpochBatches(passes, Share(self.trainer.world_size, self.trainer.global_rank))

    @property
    def validates(self) -> bool:
        """Whether there are validation examples."""
        return bool(self._held)

    def count_updates(self, trainer: lightning.Trainer) -> int:
        """Return the number of updates of the whole training, in epochs of different length.

        Lightning's own `Trainer.estimated_stepping_batches` takes all epochs to be as long as the first one. Raises
        ConfigError if training would make no update, or never end.
        """
        epochs, steps = trainer.max_epochs, trainer.max_steps
        if epochs == -1 and steps == -1:
            raise ConfigError("trainer.max_epochs=-1: training would never end. Set trainer.max_steps too.")
        updates = 0
        for epoch in count():
            if epochs not in (-1, None) and epoch >= epochs or steps != -1 and updates >= steps:
                break
            made = self._count_passes(epoch, trainer)
            if not made:
                raise ConfigError("trainer.limit_train_batches: leaves no forward pass of an epoch. Raise it.")
            updates += -(-made // trainer.accumulate_grad_batches)
        if not updates:
            raise ConfigError("trainer.max_epochs, trainer.max_steps: training would make no update. Raise them.")
        return updates if steps == -1 else min(updates, steps)

    def _count_passes(self, epoch: int, trainer: lightning.Trainer) -> int:
        """Return the number of passes that each process makes in an epoch."""
        passes, limit = -(-len(self.passes(epoch)) // trainer.world_size), trainer.limit_train_batches
        return min(passes, limit) if isinstance(limit, int) else int(passes * limit)


def _make_padding_batch(rows: Sequence[Pack], total: float, pair_total: float) -> TrainBatch:
    """Return a pass whose targets all have weight 0, for a process that has no pass left but must take part."""
    batch = build_batch(rows, total, pair_total)
    return replace(
        batch,
        weights=torch.zeros_like(batch.weights),
        pair_weights=torch.zeros_like(batch.pair_weights),
        example_indices=(-1,) * len(batch.example_indices),
        examples=0,
        num_tokens=0,
    )


def _group_by_task(examples: Sequence[SFTExample]) -> list[list[SFTExample]]:
    groups: dict[str, list[SFTExample]] = {}
    for example in examples:
        groups.setdefault(example.task_id, []).append(example)
    return list(groups.values())
