"""What a PRM learns of each process example: the target probability of its first label, its weight and its siblings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from codetool.errors import ConfigError
from codetool.model_types import ProcessExample
from codetool.process_data.examples import number_trees
from codetool.process_data.td_targets import TDSettings, compute_td_targets
from codetool.training.settings import TrainConfig
from codetool.training.sft_examples import PRMTarget


def choose_targets(examples: Sequence[ProcessExample], settings: TrainConfig) -> list[PRMTarget | None]:
    """Return the target of each process example by the settings; None for one that is not learned."""
    if settings.labels == "hard":
        targets = read_targets(examples, "label")
    elif settings.soft_target in ("td", "progress"):
        targets = _replace_values(read_targets(examples, "soft"), compute_td_targets(examples, _read_td(settings)))
    else:
        targets = read_targets(examples, settings.soft_target)
    groups = _name_groups(examples)
    targets = _weigh_failed_negatives(examples, targets, groups, settings.failed_negatives)
    if settings.loss != "pairs":
        return targets
    return _group_siblings(targets, groups, keeps_unpaired=settings.pairs_weight < 1)


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
    if settings.failed_negatives == 0:
        return "train.failed_negatives=0 leaves out all of them; raise it"
    if settings.loss == "pairs" and settings.pairs_weight == 1:
        return "train.pairs_weight=1, and no two siblings differ; try train.pairs_weight=0.5"
    return "train.labels=hard, and no step has a label; try train.labels=soft"


def check_sees_observation(prm: Any, examples: Sequence[ProcessExample]) -> bool:
    """Return whether a PRM reads what a step did. Raises ConfigError if it does and an example does not hold it."""
    sees: bool = getattr(prm, "sees_observation", False)
    if sees and (missing := next((example for example in examples if example.result is None), None)):
        raise ConfigError(
            f"prm.sees_observation=true: the process data of the task {missing.task_id} do not hold what the steps "
            "did, since an earlier version wrote them. The command of stage=collect that made them writes them again, "
            "without a model."
        )
    return sees


def _read_td(settings: TrainConfig) -> TDSettings:
    progress = settings.progress_weight if settings.soft_target == "progress" else 0.0
    return TDSettings(decay=settings.td_lambda, discount=settings.td_gamma, spot=settings.td_spot, progress=progress)


def _replace_values(targets: Sequence[PRMTarget | None], values: Sequence[float]) -> list[PRMTarget | None]:
    return [target and replace(target, value=value) for target, value in zip(targets, values, strict=True)]


def _name_groups(examples: Sequence[ProcessExample]) -> list[str]:
    """Return the name of each example's sibling group, which no other tree has."""
    return [f"{tree} {example.group}" for tree, example in zip(number_trees(examples), examples, strict=True)]


def _list_values(targets: Sequence[PRMTarget | None], groups: Sequence[str]) -> dict[str, set[float]]:
    """Return the values of the targets of each sibling group."""
    values: defaultdict[str, set[float]] = defaultdict(set)
    for group, target in zip(groups, targets, strict=True):
        if target is not None:
            values[group].add(target.value)
    return values


def _weigh_failed_negatives(
    examples: Sequence[ProcessExample], targets: Sequence[PRMTarget | None], groups: Sequence[str], factor: float
) -> list[PRMTarget | None]:
    """Return the targets with the weight of negatives that did not run multiplied; None for those of weight 0."""
    values = _list_values(targets, groups)

    def weigh(example: ProcessExample, target: PRMTarget | None, group: str) -> PRMTarget | None:
        if target is None or example.executed or 0 < target.value == max(values[group]):
            return target
        return replace(target, weight=factor * target.weight) if factor else None

    return [weigh(*each) for each in zip(examples, targets, groups, strict=True)]


def _group_siblings(
    targets: Sequence[PRMTarget | None], groups: Sequence[str], *, keeps_unpaired: bool
) -> list[PRMTarget | None]:
    """Return the targets with their sibling groups; unless `keeps_unpaired`, None for steps that are in no pair."""
    values = _list_values(targets, groups)
    return [
        None if target is None or (len(values[group]) < 2 and not keeps_unpaired) else replace(target, group=group)
        for group, target in zip(groups, targets, strict=True)
    ]
