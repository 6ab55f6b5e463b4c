"""Match the items of two lists one to one, where an item may have several equally right spellings.

This is a perfect matching in a bipartite graph (Kuhn's augmenting paths). Items are reached through their spellings, so
the cost of a path is bounded by the number of spellings, however many items share one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence


def has_perfect_matching(found: Sequence[Collection[Hashable]], expected: Sequence[Collection[Hashable]]) -> bool:
    """Return whether the items can be paired one to one so that the two items of each pair share a spelling."""
    if len(found) != len(expected):
        return False
    pairing = _Pairing(found, expected)
    return all(pairing.place(item) for item in range(len(found)))


class _Pairing:
    """A matching to which items are added one at a time."""

    def __init__(self, found: Sequence[Collection[Hashable]], expected: Sequence[Collection[Hashable]]) -> None:
        self._found = found
        self._with_spelling = defaultdict[Hashable, list[int]](list)
        for index, spellings in enumerate(expected):
            for spelling in set(spellings):
                self._with_spelling[spelling].append(index)
        self._free = {spelling: list(indices) for spelling, indices in self._with_spelling.items()}
        self._found_of: dict[int, int] = {}
        """Maps each matched wanted item to its found item."""
        self._wanted_of: dict[int, int] = {}

    def place(self, item: int) -> bool:
        """Pair this found item and move others if needed; return False if it cannot be paired."""
        for spelling in self._found[item]:
            free = self._free.get(spelling, [])
            while free and free[-1] in self._found_of:
                free.pop()
            if free:
                self._pair(item, free.pop())
                return True
        return self._move_others(item)

    def _move_others(self, item: int) -> bool:
        reached, reached_from, spellings = [item], dict[int, int](), set[Hashable]()
        for current in reached:  # the list grows during the iteration
            for spelling in set(self._found[current]) - spellings:
                spellings.add(spelling)
                for index in self._with_spelling.get(spelling, ()):
                    if index in reached_from:
                        continue
                    reached_from[index] = current
                    if index not in self._found_of:
                        self._shift(index, reached_from, item)
                        return True
                    reached.append(self._found_of[index])
        return False

    def _shift(self, index: int, reached_from: dict[int, int], item: int) -> None:
        """Pair each item on the path with the wanted item it reached, from the free one back to the new item."""
        while True:
            current = reached_from[index]
            given_up = self._wanted_of.get(current)
            self._pair(current, index)
            if current == item or given_up is None:
                return
            index = given_up

    def _pair(self, item: int, index: int) -> None:
        self._found_of[index], self._wanted_of[item] = item, index
