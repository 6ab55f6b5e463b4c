"""Computed prompts as a tree: what prompts have in common is kept once, and shared by siblings, paths and tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(eq=False)
class Segment:
    """Some tokens of a prompt after those of its ancestors, with their keys and values.

    `cache` is `(layers, 2, kv_heads, tokens, head)`; None for the root, which has no tokens.
    """

    tokens: tuple[int, ...] = ()
    cache: Tensor | None = None
    parent: Segment | None = None
    children: dict[int, Segment] = field(default_factory=dict)
    """By their first token."""
    last_used: int = 0
    """When it was last walked over."""
    is_kept: bool = True
    """Whether the tree still leads here."""

    @property
    def caches(self) -> list[Tensor]:
        """The keys and values from the root to here."""
        found: list[Tensor] = []
        here: Segment | None = self
        while here is not None and here.cache is not None:
            found.append(here.cache)
            here = here.parent
        return found[::-1]


class PrefixTree:
    """The most recently used prompts, up to a number of tokens in all."""

    def __init__(self, room: int) -> None:
        self.capacity = room
        self.root = Segment()
        self.tokens = 0
        """How many are kept."""
        self._clock = 0

    def find_longest(self, tokens: Sequence[int]) -> tuple[Segment, int]:
        """The segment that ends the longest known start of `tokens`, and that start's length."""
        self._clock += 1
        here, done = self.root, 0
        while done < len(tokens) and (child := here.children.get(tokens[done])) is not None:
            shared = count_shared_tokens(child.tokens, tokens[done:])
            if shared < len(child.tokens):
                child = _split_segment(child, shared)
            child.last_used = self._clock
            here, done = child, done + shared
        return here, done

    def add(self, parent: Segment, tokens: Sequence[int], cache: Tensor) -> Segment:
        """The new segment after `parent`. It is not kept where one that starts the same is already known."""
        self._clock += 1
        kept = parent.is_kept and tokens[0] not in parent.children
        new = Segment(tuple(tokens), cache, parent, last_used=self._clock, is_kept=kept)
        if kept:
            parent.children[tokens[0]] = new
            self.tokens += len(tokens)
        return new

    def evict(self) -> None:
        """Forget the least recently used ends of prompts until the rest fits. Whoever holds a segment keeps it."""
        while self.tokens > self.capacity:
            oldest = min(self._iterate_leaves(), key=lambda leaf: leaf.last_used)
            assert oldest.parent is not None
            oldest.is_kept = False
            del oldest.parent.children[oldest.tokens[0]]
            self.tokens -= len(oldest.tokens)

    def _iterate_leaves(self) -> Iterator[Segment]:
        waiting = list(self.root.children.values())
        while waiting:
            segment = waiting.pop()
            waiting += segment.children.values()
            if not segment.children:
                yield segment


def count_shared_tokens(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences share from their start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _split_segment(segment: Segment, at: int) -> Segment:
    """The first part of a segment cut in two, in its place."""
    assert segment.cache is not None and segment.parent is not None
    start, end = segment.cache[:, :, :, :at].clone(), segment.cache[:, :, :, at:].clone()  # each can be freed alone
    first = Segment(segment.tokens[:at], start, segment.parent, last_used=segment.last_used)
    segment.parent.children[first.tokens[0]] = first
    segment.tokens, segment.cache, segment.parent = segment.tokens[at:], end, first
    first.children[segment.tokens[0]] = segment
    return first
