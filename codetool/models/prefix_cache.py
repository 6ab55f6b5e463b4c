"""A cache of the keys and values of recent prompts, for later prompts with the same start."""

from __future__ import annotations

from collections.abc import Sequence

from codetool.models.kv_slots import Prefix


class PrefixCache:
    """The most recently used prefixes, up to a total number of tokens (23 kB per token for SmolLM2-135M)."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._prefixes: list[Prefix] = []
        """The least recently used first."""

    def find_longest(self, tokens: Sequence[int]) -> Prefix | None:
        """Return the longest cached start of `tokens` that leaves at least one token to compute; None without one."""
        best, shared = None, 0
        for prefix in self._prefixes:
            common = _common(prefix.tokens, tokens)
            if common > shared:
                best, shared = prefix, common
        shared = min(shared, len(tokens) - 1)
        if best is None or shared < 1:
            return None
        self._prefixes.remove(best)
        self._prefixes.append(best)
        return Prefix(best.tokens[:shared], best.cache[:, :, :, :shared])

    def count_cached_tokens(self, tokens: Sequence[int]) -> int:
        """Return the number of tokens at the start of `tokens` that are cached, without marking them as used."""
        return max((_common(prefix.tokens, tokens) for prefix in self._prefixes), default=0)

    def add(self, prefix: Prefix) -> None:
        """Add a prefix; remove those that it extends, and the least recently used ones beyond the capacity."""
        self._prefixes = [other for other in self._prefixes if _common(other.tokens, prefix.tokens) < len(other.tokens)]
        self._prefixes.append(prefix)
        while len(self._prefixes) > 1 and sum(len(other.tokens) for other in self._prefixes) > self.capacity:
            self._prefixes.pop(0)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of tokens that two sequences have in common at their start."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # equality of slices is a C loop, so halving beats walking
        middle = (low + high + 1) // 2
        if tuple(a[:middle]) == tuple(b[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
