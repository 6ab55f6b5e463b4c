"""What a PRM learns of each process example: the target probability of its first label, its weight and its siblings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from codetool.model_types import ProcessExample
from codetool.process_data.examples import number_trees
from codetool.training.settings import TrainConfig
from codetool.training.sft_examples import PRMTarget


def choose_targets(examples: Sequence[ProcessExample], settings: TrainConfig) -> list[PRMTarget | None]:
    """Return the target of each process example by the settings; None for one that is not learned."""
    targets = read_targets(examples, "label" if settings.labels == "hard" else settings.soft_target)
    if settings.loss != "pairs":
        return targets
    return _group_siblings(examples, targets, keeps_unpaired=settings.pairs_weight < 1)


def read_targets(examples: Sequence[ProcessExample], field: str) -> list[PRMTarget | None]:
    """Return the targets whose values are a member of the process examples: `label`, `soft` or `latent`.

    The weight is the multiplicity. A process example whose member is None has no target.
    """
    values = [getattr(example, field) for example in examples]
    return [
        None if value is None else PRMTarget(float(value), float(example.multiplicity))
        for example, value in zip(examples, values, strict=True)
    ]


def explain_missing_targets(settings: TrainConfig) -> str:
    """Return why no process example has a target."""
    if settings.loss == "pairs" and settings.pairs_weight == 1:
        return "train.pairs_weight=1, and no two siblings differ; try train.pairs_weight=0.5"
    return "train.labels=hard, and no step has a label; try train.labels=soft"


def _group_siblings(
    examples: Sequence[ProcessExample], targets: Sequence[PRMTarget | None], *, keeps_unpaired: bool
) -> list[PRMTarget | None]:
    """Return the targets with their sibling groups; unless `keeps_unpaired`, None for steps that are in no pair."""
    trees = number_trees(examples)
    groups = [f"{tree} {example.group}" for tree, example in zip(trees, examples, strict=True)]
    values: defaultdict[Hashable, set[float]] = defaultdict(set)
    for group, target in zip(groups, targets, strict=True):
        if target is not None:
            values[group].add(target.value)
    return [
        None if target is None or (len(values[group]) < 2 and not keeps_unpaired) else replace(target, group=group)
        for group, target in zip(groups, targets, strict=True)
    ]
