"""Whether the items of two lists pair up, where an item has several equally right spellings.

A perfect matching in a bipartite graph (Kuhn's augmenting paths). Items that share a spelling are reached through it,
so that a path costs no more than there are spellings, however many items have the same one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence


def pairs_up(found: Sequence[Collection[Hashable]], wanted: Sequence[Collection[Hashable]]) -> bool:
    """Whether each found item has a wanted one of its own with which it shares a spelling, and none is left over."""
    if len(found) != len(wanted):
        return False
    pairing = _Pairing(found, wanted)
    return all(pairing.place(item) for item in range(len(found)))


class _Pairing:
    """A matching that grows by one found item at a time."""

    def __init__(self, found: Sequence[Collection[Hashable]], wanted: Sequence[Collection[Hashable]]) -> None:
        self._found = found
        self._with_spelling = defaultdict[Hashable, list[int]](list)
        for index, spellings in enumerate(wanted):
            for spelling in set(spellings):
                self._with_spelling[spelling].append(index)
        self._free = {spelling: list(indices) for spelling, indices in self._with_spelling.items()}
        self._found_of: dict[int, int] = {}
        """The found item of each wanted one that has one."""
        self._wanted_of: dict[int, int] = {}

    def place(self, item: int) -> bool:
        """Pair this found item, moving others where needed; False where it cannot be done."""
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
        for current in reached:  # grows while it is read
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
        """Give each item of the path the wanted one that it reached, from the free one back to the new item."""
        while True:
            current = reached_from[index]
            given_up = self._wanted_of.get(current)
            self._pair(current, index)
            if current == item or given_up is None:
                return
            index = given_up

    def _pair(self, item: int, index: int) -> None:
        self._found_of[index], self._wanted_of[item] = item, index
