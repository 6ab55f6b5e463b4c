"""Pack tokenized examples into sequences; examples with a common prefix share its tokens.

The sequence is a depth-first walk over the tree of the examples' tokens. Every token knows its position in its own
example and where its subtree ends, so that attention needs one comparison: the query at place q sees the key at place k
if k ≤ q < end[k]. Packing without sharing is the same with trees of one branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise, takewhile

from codetool.training.sft_examples import SFTExample, Target


@dataclass(eq=False)
class Pack:
    """One sequence. `targets` have places in it."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Of each token in its example, from 0."""
    subtree_ends: list[int] = field(default_factory=list)
    """Of each token's subtree: the first place that does not see the token."""
    targets: list[Target] = field(default_factory=list)
    examples: int = 0
    path: list[int] = field(default_factory=list)
    """Places of the newest example's tokens."""

    def add(self, example: SFTExample, shared: int) -> None:
        """Lay an example down after the tokens that it starts with in common with the one before it."""
        self._close(shared)
        for position in range(shared, len(example.tokens)):
            self.path.append(len(self.tokens))
            self.tokens.append(example.tokens[position])
            self.positions.append(position)
            self.subtree_ends.append(0)
        self.targets += [replace(target, position=self.path[target.position]) for target in example.targets]
        self.examples += 1

    def finish(self) -> Pack:
        """This pack, complete."""
        self._close(0)
        return self

    @property
    def weight(self) -> float:
        """Sum of the targets' weights."""
        return sum(target.weight for target in self.targets)

    def _close(self, depth: int) -> None:
        for place in self.path[depth:]:
            self.subtree_ends[place] = len(self.tokens)
        del self.path[depth:]


def pack_examples(groups: Iterable[Sequence[SFTExample]], room: int, *, share: bool) -> list[Pack]:
    """The examples of groups in sequences of at most `room` tokens; an example that is longer has one alone.

    With `share`, examples of a group stand so that what they have in common is laid down once, and so is what a group
    has in common with the one before it. A new sequence lays its first example down whole, so the sequences end where
    that costs least in all, and are as few as they can be at that cost.
    """
    ordered = (sorted(group, key=lambda each: each.tokens) if share else group for group in groups)
    examples = list(chain.from_iterable(ordered))
    shared = [_common_prefix_length(*pair) if share else 0 for pair in pairwise(examples)]
    packs = []
    for start, stop in _split_cheapest([len(each.tokens) for each in examples], shared, room):
        packs.append(Pack())
        for i in range(start, stop):
            packs[-1].add(examples[i], shared[i - 1] if i > start else 0)
    return [each.finish() for each in packs]


def _common_prefix_length(first: SFTExample, second: SFTExample) -> int:
    """Tokens that two examples start with."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(first.tokens, second.tokens, strict=False))
    return sum(1 for _ in alike)


def _split_cheapest(lengths: Sequence[int], shared: Sequence[int], room: int) -> list[tuple[int, int]]:
    """The cheapest cut of examples into sequences, each as (first, past the last).

    `shared[i]` tokens of example i + 1 need not be laid down if it follows example i in a sequence.
    """
    best, starts = [(0, 0)], []  # tokens and sequences of the first so many examples, and where the last one starts
    for stop in range(1, len(lengths) + 1):
        choices, grown = [], 0  # tokens that the examples after the first of a sequence add to it
        for start in range(stop - 1, -1, -1):
            if grown + lengths[start] <= room or start == stop - 1:
                tokens, sequences = best[start]
                choices.append((tokens + grown + lengths[start], sequences + 1, -start))
            if start:
                grown += lengths[start] - shared[start - 1]
            if grown > room:
                break
        *cheapest, first = min(choices)
        best.append((cheapest[0], cheapest[1]))
        starts.append(-first)
    parts, stop = [], len(lengths)
    while stop:
        parts.append((starts[stop - 1], stop))
        stop = starts[stop - 1]
    return parts[::-1]
