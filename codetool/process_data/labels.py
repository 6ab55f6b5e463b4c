"""Label sibling steps by which of them has more potential."""

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
"""Whether a step was executed, then its estimate: what siblings are compared by."""


@dataclass(frozen=True, slots=True)
class LabelledStep:
    """A step of a rollout tree with its estimate and its label."""

    task_id: str
    node: Node
    group: str
    """Id of the parent."""
    executed: bool
    """Whether it ran and its tools answered."""
    estimate: Estimate
    label: bool | None
    """True for the best of its siblings, False for the others, None where all are equal or there is one alone."""


@dataclass(frozen=True, slots=True)
class SiblingPair:
    """Two siblings of which one has more potential, in their order."""

    first: ProcessExample
    second: ProcessExample
    first_is_better: bool
    weight: int
    """How many pairs of sampled candidates it stands for: the product of the multiplicities."""


def label_steps(rollout: Rollout, settings: LabelingConfig) -> list[LabelledStep]:
    """The steps of a tree that have an estimate, in its order.

    Of siblings, executed ones come before others; those equally executed are ranked by their estimate.
    """
    known = estimate_steps(rollout, settings)
    nodes = [(node, node.parent.id) for node in rollout.nodes if node.parent and node.id in known]
    ranks = [(node.spot > 0, _estimate_value(known[node.id], settings.estimator)) for node, _ in nodes]
    labels = _label_ranks([group for _, group in nodes], ranks)
    return [
        LabelledStep(rollout.task.id, node, group, node.spot > 0, known[node.id], label)
        for (node, group), label in zip(nodes, labels, strict=True)
    ]


def apply_labels(examples: Sequence[ProcessExample], estimate: Literal["hard", "soft"]) -> list[ProcessExample]:
    """The examples, labelled anew by their execution and estimates."""
    groups = [(example.task_id, example.group) for example in examples]
    labels = _label_ranks(groups, [_rank_example(example, estimate) for example in examples])
    return [replace(example, label=label) for example, label in zip(examples, labels, strict=True)]


def pair_siblings(examples: Iterable[ProcessExample], estimate: Literal["hard", "soft"]) -> list[SiblingPair]:
    """Every two siblings whose execution or estimate differ, group by group in the order of the examples."""
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
    """The label of each rank among those of its group."""
    of_group: defaultdict[Hashable, list[Rank]] = defaultdict(list)
    for group, rank in zip(groups, ranks, strict=True):
        of_group[group].append(rank)
    best = {group: max(each) for group, each in of_group.items()}
    tied = {group for group, each in of_group.items() if min(each) == best[group]}
    return [None if group in tied else rank == best[group] for group, rank in zip(groups, ranks, strict=True)]


def _rank_example(example: ProcessExample, estimate: Literal["hard", "soft"]) -> Rank:
    return (example.executed, _estimate_value(example, estimate))


def _estimate_value(estimated: Estimate | ProcessExample, estimate: Literal["hard", "soft"]) -> float:
    return float(estimated.hard if estimate == "hard" else estimated.soft)


def choose_steps_to_drop(steps: Iterable[tuple[str, str, bool | None]], seed: int) -> set[tuple[str, str]]:
    """Which steps to leave out so that as many are labelled True as False: (task id, node id) of each.

    `steps` are (task id, node id, label). Those left out are drawn at random; steps without a label stay.
    """
    sides: dict[bool, list[tuple[str, str]]] = {True: [], False: []}
    for task_id, node_id, label in steps:
        if label is not None:
            sides[label].append((task_id, node_id))
    kept = min(map(len, sides.values()))
    return {
        step
        for side in sides.values()
        for step in sorted(side, key=lambda step: draw_uniform(seed, "balance", *step))[kept:]
    }
