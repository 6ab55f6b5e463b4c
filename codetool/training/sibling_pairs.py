"""Pairs of siblings for a pairwise loss, and forward passes in which the members of a pair stand together.

Steps are compared with their siblings only. A forward pass therefore holds whole sibling groups, and each group is in
one pass. With shared prefixes, a pass computes the common prefix of all its groups once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from codetool.training.packing import Pack, count_shared_tokens, pack_examples
from codetool.training.sft_examples import SFTExample, Target

SiblingGroup = list[SFTExample]
"""The examples of one sibling group, sorted by their tokens."""


@dataclass(frozen=True, slots=True)
class TargetPair:
    """Two targets of a sibling group with different values, as indices into the targets of a forward pass."""

    better: int
    worse: int
    weight: float
    """Product of the weights of both targets: the number of pairs of sampled candidates that the pair stands for."""


def list_pairs(targets: Sequence[Target]) -> list[TargetPair]:
    """Return all pairs of targets of one sibling group whose values differ; targets without a group are in none."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, target in enumerate(targets):
        if target.group:
            groups[target.group].append(index)
    return [
        TargetPair(better, worse, targets[better].weight * targets[worse].weight)
        for members in groups.values()
        for pair in combinations(members, 2)
        for worse, better in [sorted(pair, key=lambda index: targets[index].label_prob)]
        if targets[better].label_prob != targets[worse].label_prob
    ]


def sum_pair_weights(rows: Iterable[Pack]) -> float:
    """Return the summed weight of all pairs of a forward pass."""
    return sum(pair.weight for pair in list_pairs([target for row in rows for target in row.targets]))


def arrange_siblings(
    tasks: Iterable[Sequence[SFTExample]], max_tokens: int, *, share: bool, padded: bool
) -> list[list[Pack]]:
    """Return the rows of each forward pass over the examples of each task; no sibling group is split.

    A pass has at most `max_tokens` tokens, or a single larger sibling group. With `share`, the examples of a pass share
    their prefixes in one row; if `padded`, each example is a row of its own; otherwise they follow each other in one
    row.
    """
    passes: list[list[Pack]] = []
    for examples in _fill_passes(tasks, max_tokens, share=share, padded=padded):
        if padded:
            passes.append([pack for each in examples for pack in pack_examples([[each]], max_tokens, share=False)])
        else:
            passes.append(pack_examples([examples], _count_tokens(examples, share=share, padded=False), share=share))
    return passes


def _fill_passes(
    tasks: Iterable[Sequence[SFTExample]], max_tokens: int, *, share: bool, padded: bool
) -> Iterator[list[SFTExample]]:
    """Yield the examples of each pass, filled with one sibling group after the other in the order of the tree."""
    filled: list[SFTExample] = []
    for group in (group for task in tasks for group in _list_sibling_groups(task)):
        grown = sorted(filled + group, key=lambda example: example.tokens)
        if filled and _count_tokens(grown, share=share, padded=padded) > max_tokens:
            yield filled
            grown = group
        filled = grown
    if filled:
        yield filled


def _list_sibling_groups(task: Iterable[SFTExample]) -> list[SiblingGroup]:
    """Return the sibling groups of a task's examples, parents before children; others are groups of one."""
    groups: dict[str | int, SiblingGroup] = {}
    for index, example in enumerate(task):
        groups.setdefault(example.targets[0].group or index, []).append(example)
    ordered = [sorted(group, key=lambda example: example.tokens) for group in groups.values()]
    return sorted(ordered, key=lambda group: group[0].tokens)


def _count_tokens(examples: Sequence[SFTExample], *, share: bool, padded: bool) -> int:
    """Return the number of tokens of a pass over examples that are sorted by their tokens."""
    lengths = [len(example.tokens) for example in examples]
    if padded:
        return len(lengths) * max(lengths)
    return sum(lengths) - (sum(count_shared_tokens(*pair) for pair in pairwise(examples)) if share else 0)
