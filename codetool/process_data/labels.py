"""Label sibling steps by comparing them: by whether they were executed, then by their estimated potential."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

from codetool.model_types import ProcessExample
from codetool.process_data.rollouts import Estimate, Rollout, estimate_steps
from codetool.process_data.settings import LabelingConfig
from codetool.runs.seeding import draw_uniform
from codetool.types import Node

Rank = tuple[bool, float]
"""Sort key by which siblings are compared: whether the step was executed, then its estimate."""


@dataclass(frozen=True, slots=True)
class LabelledStep:
    """A step of a rollout tree with its estimate and its label."""

    task_id: str
    node: Node
    group: str
    """Id of the parent node, which siblings share."""
    executed: bool
    """Whether the step ran without error and its tool calls were answered."""
    estimate: Estimate
    label: bool | None
    """True for the best siblings, False for the others; None if all are equal or the step has no siblings."""


@dataclass(frozen=True, slots=True)
class SiblingPair:
    """Two siblings with different ranks, in the order of the examples."""

    first: ProcessExample
    second: ProcessExample
    first_is_better: bool
    weight: int
    """Number of pairs of sampled candidates that the pair represents: the product of the multiplicities."""


def label_steps(rollout: Rollout, settings: LabelingConfig) -> list[LabelledStep]:
    """Return the labelled steps of a tree, in its order; steps without an estimate are left out.

    An executed step ranks above siblings that were not executed; otherwise siblings are ranked by their estimate.
    """
    estimates = estimate_steps(rollout, settings)
    nodes = [(node, node.parent.id) for node in rollout.nodes if node.parent and node.id in estimates]
    ranks = [(node.spot > 0, _estimate_value(estimates[node.id], settings.estimator)) for node, _ in nodes]
    labels = _label_ranks([group for _, group in nodes], ranks)
    return [
        LabelledStep(rollout.task.id, node, group, node.spot > 0, estimates[node.id], label)
        for (node, group), label in zip(nodes, labels, strict=True)
    ]


def apply_labels(examples: Sequence[ProcessExample], estimate: Literal["hard", "soft"]) -> list[ProcessExample]:
    """Return the examples with labels recomputed from their execution and estimates."""
    groups = [(example.task_id, example.group) for example in examples]
    labels = _label_ranks(groups, [_rank_example(example, estimate) for example in examples])
    return [replace(example, label=label) for example, label in zip(examples, labels, strict=True)]


def pair_siblings(examples: Iterable[ProcessExample], estimate: Literal["hard", "soft"]) -> list[SiblingPair]:
    """Return all pairs of siblings that differ in execution or estimate, group by group in the examples' order."""
    groups: defaultdict[tuple[str, str], list[ProcessExample]] = defaultdict(list)
    for example in examples:
        groups[example.task_id, example.group].append(example)
    return [
        SiblingPair(
            one,
            other,
            _rank_example(one, estimate) > _rank_example(other, estimate),
            one.multiplicity * other.multiplicity,
        )
        for group in groups.values()
        for one, other in combinations(group, 2)
        if _rank_example(one, estimate) != _rank_example(other, estimate)
    ]


def _label_ranks(groups: Sequence[Hashable], ranks: Sequence[Rank]) -> list[bool | None]:
    """Return the label of each rank, by comparison with the other ranks of its group."""
    group_ranks: defaultdict[Hashable, list[Rank]] = defaultdict(list)
    for group, rank in zip(groups, ranks, strict=True):
        group_ranks[group].append(rank)
    best = {group: max(ranks_in_group) for group, ranks_in_group in group_ranks.items()}
    tied = {group for group, ranks_in_group in group_ranks.items() if min(ranks_in_group) == best[group]}
    return [None if group in tied else rank == best[group] for group, rank in zip(groups, ranks, strict=True)]


def _rank_example(example: ProcessExample, estimate: Literal["hard", "soft"]) -> Rank:
    return (example.executed, _estimate_value(example, estimate))


def _estimate_value(estimated: Estimate | ProcessExample, estimate: Literal["hard", "soft"]) -> float:
    return float(estimated.hard if estimate == "hard" else estimated.soft)


def choose_steps_to_drop(steps: Iterable[tuple[str, str, bool | None]], seed: int) -> set[tuple[str, str]]:
    """Return the (task id, node id) of the steps to leave out so that equally many are labelled True and False.

    `steps` are (task id, node id, label). The steps to leave out are drawn at random with the seed; steps without a
    label are kept.
    """
    steps_by_label: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for task_id, node_id, label in steps:
        if label is not None:
            steps_by_label[label].append((task_id, node_id))
    kept_count = min(map(len, steps_by_label.values()))
    return {
        step
        for same_label in steps_by_label.values()
        for step in sorted(same_label, key=lambda step: draw_uniform(seed, "balance", *step))[kept_count:]
    }
