"""The keys and values of all candidates being written, side by side, so that one product attends for all of them.

A group, the candidates after one prefix, has a slot: the prefix's keys and values, then those of the tokens that its
rows have written, in the order of writing. What a row may see of its slot is a mask: rows that branched see the same
places up to there, so nothing is copied. Slots have a few lengths only, and what one lacks of its length is masked too.
Attention of a layer is then a handful of operations however many groups there are; group by group it would be some for
each, and on a CPU their start costs more than their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

LENGTHS = (256, 384)
"""Tokens of the shortest slots; the next kinds have twice as many, and so on."""


@dataclass(frozen=True)
class Prefix:
    """The keys and values of a prompt, never changed: `(layers, 2, kv_heads, tokens, head)`."""

    tokens: tuple[int, ...]
    cache: Tensor


class Group:
    """Candidates after one prefix while they are being written; those with the same tokens up to now are one row."""

    def __init__(self, prefix: Prefix) -> None:
        """One row without tokens."""
        self.prefix = prefix
        self.length = 0
        """Tokens that each row has by now."""
        self.used = len(prefix.tokens)
        """Places of the slot that are taken."""
        self.seen = torch.ones(1, self.used, dtype=torch.bool)
        """Which of them each row sees: `(rows, places)`."""

    @property
    def rows(self) -> int:
        """How many rows are being written."""
        return len(self.seen)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, by their place; one that is named again goes on as a copy as well."""
        self.seen = self.seen[list(rows)]

    def grow(self) -> None:
        """Take a place for the next token of each row."""
        self.seen = torch.cat([self.seen, torch.eye(self.rows, dtype=torch.bool)], 1)
        self.used += self.rows
        self.length += 1


class Slots:
    """Where all groups lie, those of like length together. `hold` before each step, `attend` in every layer of it."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype) -> None:
        """No slot yet."""
        self._new = partial(_Kind, layers, kv_heads, head, dtype)
        self._kinds: dict[int, _Kind] = {}
        self._rows: dict[int, Tensor] = {}
        """Which rows of a step are of a kind."""

    def hold(self, groups: Sequence[Group]) -> None:
        """Give every group a slot with a place for the next token of each of its rows, and forget the others."""
        kinds: dict[int, list[Group]] = {}
        rows: dict[int, list[int]] = {}
        row = 0
        for group in groups:
            group.grow()
            kind = _length(group.used)
            kinds.setdefault(kind, []).append(group)
            rows.setdefault(kind, []).extend(range(row, row + group.rows))
            row += group.rows
        before, self._kinds = self._kinds, {kind: self._kinds.get(kind) or self._new(kind) for kind in kinds}
        self._rows = {kind: torch.tensor(some) for kind, some in rows.items()}
        for kind, some in sorted(kinds.items(), reverse=True):
            self._kinds[kind].hold(some, before)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of each row's newest token, whose key and value are added: `(rows, hidden)`.

        `query` is `(rows, heads, head)`, `key` and `value` `(rows, kv_heads, head)`.
        """
        if len(self._kinds) == 1:
            [kind] = self._kinds.values()
            return kind.attend(layer, query, key, value)
        found = query.new_empty(len(query), query.shape[1] * query.shape[2])
        for length, kind in self._kinds.items():
            rows = self._rows[length]
            found[rows] = kind.attend(layer, query[rows], key[rows], value[rows])
        return found


def _length(places: int) -> int:
    """Tokens of the shortest slots that hold so many."""
    factor = 1
    while LENGTHS[-1] * factor < places:
        factor *= 2
    return next(length * factor for length in LENGTHS if length * factor >= places)


class _Kind:
    """Slots of one length."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype, length: int) -> None:
        """No slot yet; `length` is in tokens."""
        self._held: list[Group | None] = []
        self._cache = torch.empty(layers, 2, 0, kv_heads, length, head, dtype=dtype)
        """`(layers, 2, slots, kv_heads, tokens, head)`."""

    def hold(self, groups: Sequence[Group], before: dict[int, _Kind]) -> None:
        """As `Slots.hold`, for groups of this kind; `before` says where they were."""
        wanted = set(map(id, groups))
        known = {id(group) for group in self._held if group}
        entering = [(group, _found(group, before)) for group in groups if id(group) not in known]
        self._held = [group if id(group) in wanted else None for group in self._held]
        while self._held and self._held[-1] is None:
            self._held.pop()
        for group, written in entering:
            self._enter(group, written)
        self._place(groups)

    def written(self, group: Group) -> Tensor | None:
        """The keys and values of a group up to its last step, None if it has no slot of this kind."""
        slot = next((slot for slot, each in enumerate(self._held) if each is group), None)
        return None if slot is None else self._cache[:, :, slot, :, : group.used - group.rows]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `Slots.attend`, for the rows of this kind."""
        rows, heads, head = query.shape
        slots, most, kv = len(self._held), self._mask.shape[2], key.shape[1]
        keys, values = self._cache[layer]
        keys[self._slot, :, self._at] = key
        values[self._slot, :, self._at] = value
        spread = query.new_zeros(slots * most, heads, head)
        spread[self._where] = query * head**-0.5
        spread = spread.view(slots, most, kv, -1, head).transpose(1, 2).reshape(slots, kv, -1, head)
        scores = spread @ keys[:slots].transpose(2, 3)
        scores.view(slots, kv, most, -1, scores.shape[-1]).add_(self._mask)
        found = scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ values[:slots]
        found = found.view(slots, kv, most, -1, head).transpose(1, 2).reshape(slots * most, -1)
        return found[self._where]

    def _enter(self, group: Group, written: Tensor) -> None:
        """Copy the keys and values that there are into the first free slot."""
        if None not in self._held:
            self._held.append(None)
        slot = self._held.index(None)
        self._held[slot] = group
        if slot >= self._cache.shape[2]:
            self._cache = _doubled(self._cache, slot + 1)
        self._cache[:, :, slot, :, : written.shape[3]] = written

    def _place(self, groups: Sequence[Group]) -> None:
        """Where each row of the step lies, and what it may see."""
        slots = {id(group): slot for slot, group in enumerate(self._held)}
        most, length = max(group.rows for group in groups), self._cache.shape[4]
        places = [
            (slots[id(group)], rank, group.used - group.rows + rank) for group in groups for rank in range(group.rows)
        ]
        self._slot, rank, self._at = torch.tensor(places).unbind(1)
        self._where = self._slot * most + rank
        self._mask = self._cache.new_zeros(len(self._held), 1, most, 1, length)
        """`(slots, 1, rows, 1, tokens)`, added to scores."""
        for group in groups:
            mask = self._mask[slots[id(group)], 0, : group.rows, 0]
            mask[:, group.used :] = float("-inf")
            mask[:, : group.used].masked_fill_(~group.seen, float("-inf"))


def _found(group: Group, before: dict[int, _Kind]) -> Tensor:
    """The keys and values of a group where they are: in a slot, or its prefix."""
    for kind in before.values():
        if (written := kind.written(group)) is not None:
            return written
    return group.prefix.cache


def _doubled(cache: Tensor, least: int) -> Tensor:
    """The cache with at least so many slots, and twice as many as before, so that growing stays rare."""
    made = cache.new_zeros(*cache.shape[:2], max(least, 2 * cache.shape[2]), *cache.shape[3:])
    made[:, :, : cache.shape[2]] = cache
    return made
