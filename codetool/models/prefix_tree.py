"""A prefix tree of cached prompts: common prefixes are stored once and shared by siblings, paths and tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(eq=False)
class Segment:
    """A node of the tree: tokens that follow those of its ancestors, with their keys and values."""

    tokens: tuple[int, ...] = ()
    cache: Tensor | None = None
    """`(layers, 2, kv_heads, tokens, head)`; None for the root, which has no tokens."""
    parent: Segment | None = None
    children: dict[int, Segment] = field(default_factory=dict)
    """Children by their first token."""
    last_used: int = 0
    """Clock of the tree at the last use."""
    is_kept: bool = True
    """Whether the segment is part of the tree; False if it was not added or has been evicted."""

    @property
    def caches(self) -> list[Tensor]:
        """The keys and values of all segments from the root to this one."""
        caches: list[Tensor] = []
        segment: Segment | None = self
        while segment is not None and segment.cache is not None:
            caches.append(segment.cache)
            segment = segment.parent
        return caches[::-1]


class PrefixTree:
    """The most recently used prompts, up to a total number of tokens."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.root = Segment()
        self.tokens = 0
        """Number of tokens in the tree."""
        self._clock = 0

    def find_longest(self, tokens: Sequence[int]) -> tuple[Segment, int]:
        """Return the segment at the end of the longest cached start of `tokens`, and the length of this start."""
        self._clock += 1
        segment, matched_tokens = self.root, 0
        while matched_tokens < len(tokens) and (child := segment.children.get(tokens[matched_tokens])) is not None:
            shared = count_shared_tokens(child.tokens, tokens[matched_tokens:])
            if shared < len(child.tokens):
                child = _split_segment(child, shared)
            child.last_used = self._clock
            segment, matched_tokens = child, matched_tokens + shared
        return segment, matched_tokens

    def add(self, parent: Segment, tokens: Sequence[int], cache: Tensor) -> Segment:
        """Return a new segment after `parent`; it is not added to the tree if a child starts with the same token."""
        self._clock += 1
        is_kept = parent.is_kept and tokens[0] not in parent.children
        segment = Segment(tuple(tokens), cache, parent, last_used=self._clock, is_kept=is_kept)
        if is_kept:
            parent.children[tokens[0]] = segment
            self.tokens += len(tokens)
        return segment

    def evict(self) -> None:
        """Remove the least recently used leaves until the tree fits its capacity. Segments in use stay valid."""
        while self.tokens > self.capacity:
            oldest = min(self._iterate_leaves(), key=lambda leaf: leaf.last_used)
            assert oldest.parent is not None
            oldest.is_kept = False
            del oldest.parent.children[oldest.tokens[0]]
            self.tokens -= len(oldest.tokens)

    def _iterate_leaves(self) -> Iterator[Segment]:
        stack = list(self.root.children.values())
        while stack:
            segment = stack.pop()
            stack += segment.children.values()
            if not segment.children:
                yield segment


def count_shared_tokens(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of tokens that two sequences have in common at their start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _split_segment(segment: Segment, at: int) -> Segment:
    """Split a segment before token `at`, and return the first part, which takes the segment's place in the tree."""
    assert segment.cache is not None and segment.parent is not None
    start, end = segment.cache[:, :, :, :at].clone(), segment.cache[:, :, :, at:].clone()  # each can be freed alone
    first = Segment(segment.tokens[:at], start, segment.parent, last_used=segment.last_used)
    segment.parent.children[first.tokens[0]] = first
    segment.tokens, segment.cache, segment.parent = segment.tokens[at:], end, first
    first.children[segment.tokens[0]] = segment
    return first
