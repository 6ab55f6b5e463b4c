"""Pack tokenized examples into sequences; examples with a common prefix share its tokens.

A sequence is a depth-first walk over the prefix tree of the examples' tokens. For every token, its position in its own
example and the index at which its subtree ends are stored, so that the attention mask is one comparison: the query at
index q attends to the key at index k if k ≤ q < end[k]. Without sharing, every tree has a single branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

from codetool.training.sft_examples import SFTExample, Target


@dataclass(eq=False)
class Pack:
    """One sequence of packed examples."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """Position of each token within its own example, from 0."""
    subtree_ends: list[int] = field(default_factory=list)
    """Index at which each token's subtree ends: the first later index that does not attend to the token."""
    targets: list[Target] = field(default_factory=list)
    """Targets of all examples; their positions are indices into this sequence."""
    examples: int = 0
    """Number of examples in the sequence."""
    path: list[int] = field(default_factory=list)
    """Indices in the sequence of the tokens of the example added last."""

    def add(self, example: SFTExample, shared: int) -> None:
        """Append an example without its first `shared` tokens, which it has in common with the previous example."""
        self._close(shared)
        for position in range(shared, len(example.tokens)):
            self.path.append(len(self.tokens))
            self.tokens.append(example.tokens[position])
            self.positions.append(position)
            self.subtree_ends.append(0)
        self.targets += [replace(target, position=self.path[target.position]) for target in example.targets]
        self.examples += 1

    def finish(self) -> Pack:
        """Set the subtree ends that are still open, and return this pack."""
        self._close(0)
        return self

    @property
    def weight(self) -> float:
        """Sum of the weights of the targets."""
        return sum(target.weight for target in self.targets)

    def _close(self, depth: int) -> None:
        for index in self.path[depth:]:
            self.subtree_ends[index] = len(self.tokens)
        del self.path[depth:]


def pack_examples(groups: Iterable[Sequence[SFTExample]], max_tokens: int, *, share: bool) -> list[Pack]:
    """Return the examples packed into sequences of at most `max_tokens`; a longer example gets its own sequence.

    With `share`, the examples of a group are sorted by their tokens, and each example shares its common prefix with the
    previous one, also across groups. The first example of a sequence shares nothing, so the sequences are cut where the
    total number of tokens is lowest; among equal cuts, the one with the fewest sequences is taken.
    """
    ordered = (sorted(group, key=lambda example: example.tokens) if share else group for group in groups)
    examples = list(chain.from_iterable(ordered))
    shared = [count_shared_tokens(*pair) if share else 0 for pair in pairwise(examples)]
    packs = []
    for start, stop in _split_cheapest([len(example.tokens) for example in examples], shared, max_tokens):
        packs.append(Pack())
        for i in range(start, stop):
            packs[-1].add(examples[i], shared[i - 1] if i > start else 0)
    return [pack.finish() for pack in packs]


def count_shared_tokens(first: SFTExample, second: SFTExample) -> int:
    """Return the number of tokens that two examples have in common at their start."""
    one, other = first.tokens, second.tokens
    low, high = 0, min(len(one), len(other))
    while low < high:  # slices are compared much faster than single tokens
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _split_cheapest(lengths: Sequence[int], shared: Sequence[int], max_tokens: int) -> list[tuple[int, int]]:
    """Return the cut of examples into sequences with the fewest tokens, each as (first, past the last) example.

    Example i + 1 saves `shared[i]` tokens if it follows example i in the same sequence.
    """
    best, starts = [(0, 0)], []  # tokens and sequences of the first so many examples, and where the last one starts
    for stop in range(1, len(lengths) + 1):
        choices, grown = [], 0  # tokens that the examples after the first of a sequence add to it
        for start in range(stop - 1, -1, -1):
            if grown + lengths[start] <= max_tokens or start == stop - 1:
                tokens, sequences = best[start]
                choices.append((tokens + grown + lengths[start], sequences + 1, -start))
            if start:
                grown += lengths[start] - shared[start - 1]
            if grown > max_tokens:
                break
        *cheapest, first = min(choices)
        best.append((cheapest[0], cheapest[1]))
        starts.append(-first)
    parts, stop = [], len(lengths)
    while stop:
        parts.append((starts[stop - 1], stop))
        stop = starts[stop - 1]
    return parts[::-1]
