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

SLOT_LENGTHS = (256, 384)
"""Tokens of the shortest slots; the next kinds have twice as many, and so on."""


@dataclass(frozen=True)
class Prefix:
    """The keys and values of a prompt, never changed: `(layers, 2, kv_heads, tokens, head)`."""

    tokens: tuple[int, ...]
    cache: Tensor


class SlotGroup:
    """Candidates after one prefix while they are being written; those with the same tokens up to now are one row."""

    def __init__(self, prefix: Prefix) -> None:
        """One row without tokens."""
        self.prefix = prefix
        self.length = 0
        """Tokens that each row has by now."""
        self.slot_tokens = len(prefix.tokens)
        """Places of the slot that are taken."""
        self.visible = torch.ones(1, self.slot_tokens, dtype=torch.bool)
        """Which of them each row sees: `(rows, places)`."""

    @property
    def rows(self) -> int:
        """How many rows are being written."""
        return len(self.visible)

    def select_rows(self, rows: Sequence[int]) -> None:
        """Go on with these rows, by their place; one that is named again goes on as a copy as well."""
        self.visible = self.visible[list(rows)]

    def add_token_per_row(self) -> None:
        """Take a place for the next token of each row."""
        self.visible = torch.cat([self.visible, torch.eye(self.rows, dtype=torch.bool)], 1)
        self.slot_tokens += self.rows
        self.length += 1


class KVSlots:
    """Where all groups lie, those of like length together. `hold` before each step, `attend` in every layer of it."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype) -> None:
        """No slot yet."""
        self._new = partial(_SlotSize, layers, kv_heads, head, dtype)
        self._sizes: dict[int, _SlotSize] = {}
        self._rows: dict[int, Tensor] = {}
        """Which rows of a step are of a kind."""

    def allocate(self, groups: Sequence[SlotGroup]) -> None:
        """Give every group a slot with a place for the next token of each of its rows, and forget the others."""
        kinds: dict[int, list[SlotGroup]] = {}
        rows: dict[int, list[int]] = {}
        row = 0
        for group in groups:
            group.add_token_per_row()
            kind = _choose_slot_length(group.slot_tokens)
            kinds.setdefault(kind, []).append(group)
            rows.setdefault(kind, []).extend(range(row, row + group.rows))
            row += group.rows
        before, self._sizes = self._sizes, {kind: self._sizes.get(kind) or self._new(kind) for kind in kinds}
        self._rows = {kind: torch.tensor(some) for kind, some in rows.items()}
        for kind, some in sorted(kinds.items(), reverse=True):
            self._sizes[kind].allocate(some, before)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of each row's newest token, whose key and value are added: `(rows, hidden)`.

        `query` is `(rows, heads, head)`, `key` and `value` `(rows, kv_heads, head)`.
        """
        if len(self._sizes) == 1:
            [kind] = self._sizes.values()
            return kind.attend(layer, query, key, value)
        found = query.new_empty(len(query), query.shape[1] * query.shape[2])
        for length, kind in self._sizes.items():
            rows = self._rows[length]
            found[rows] = kind.attend(layer, query[rows], key[rows], value[rows])
        return found


def _choose_slot_length(places: int) -> int:
    """Tokens of the shortest slots that hold so many."""
    factor = 1
    while SLOT_LENGTHS[-1] * factor < places:
        factor *= 2
    return next(length * factor for length in SLOT_LENGTHS if length * factor >= places)


class _SlotSize:
    """Slots of one length."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype, length: int) -> None:
        """No slot yet; `length` is in tokens."""
        self._groups: list[SlotGroup | None] = []
        self._cache = torch.empty(layers, 2, 0, kv_heads, length, head, dtype=dtype)
        """`(layers, 2, slots, kv_heads, tokens, head)`."""

    def allocate(self, groups: Sequence[SlotGroup], before: dict[int, _SlotSize]) -> None:
        """As `Slots.hold`, for groups of this kind; `before` says where they were."""
        wanted = set(map(id, groups))
        known = {id(group) for group in self._groups if group}
        entering = [(group, _find_cached_tokens(group, before)) for group in groups if id(group) not in known]
        self._groups = [group if id(group) in wanted else None for group in self._groups]
        while self._groups and self._groups[-1] is None:
            self._groups.pop()
        for group, written in entering:
            self._copy_into_slot(group, written)
        self._index_rows(groups)

    def cached_tokens(self, group: SlotGroup) -> Tensor | None:
        """The keys and values of a group up to its last step, None if it has no slot of this kind."""
        slot = next((slot for slot, each in enumerate(self._groups) if each is group), None)
        return None if slot is None else self._cache[:, :, slot, :, : group.slot_tokens - group.rows]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `Slots.attend`, for the rows of this kind."""
        rows, heads, head = query.shape
        slots, most, kv = len(self._groups), self._mask.shape[2], key.shape[1]
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

    def _copy_into_slot(self, group: SlotGroup, written: Tensor) -> None:
        """Copy the keys and values that there are into the first free slot."""
        if None not in self._groups:
            self._groups.append(None)
        slot = self._groups.index(None)
        self._groups[slot] = group
        if slot >= self._cache.shape[2]:
            self._cache = _enlarge_cache(self._cache, slot + 1)
        self._cache[:, :, slot, :, : written.shape[3]] = written

    def _index_rows(self, groups: Sequence[SlotGroup]) -> None:
        """Where each row of the step lies, and what it may see."""
        slots = {id(group): slot for slot, group in enumerate(self._groups)}
        most, length = max(group.rows for group in groups), self._cache.shape[4]
        places = [
            (slots[id(group)], rank, group.slot_tokens - group.rows + rank)
            for group in groups
            for rank in range(group.rows)
        ]
        self._slot, rank, self._at = torch.tensor(places).unbind(1)
        self._where = self._slot * most + rank
        self._mask = self._cache.new_zeros(len(self._groups), 1, most, 1, length)
        """`(slots, 1, rows, 1, tokens)`, added to scores."""
        for group in groups:
            mask = self._mask[slots[id(group)], 0, : group.rows, 0]
            mask[:, group.slot_tokens :] = float("-inf")
            mask[:, : group.slot_tokens].masked_fill_(~group.visible, float("-inf"))


def _find_cached_tokens(group: SlotGroup, before: dict[int, _SlotSize]) -> Tensor:
    """The keys and values of a group where they are: in a slot, or its prefix."""
    for kind in before.values():
        if (written := kind.cached_tokens(group)) is not None:
            return written
    return group.prefix.cache


def _enlarge_cache(cache: Tensor, least: int) -> Tensor:
    """The cache with at least so many slots, and twice as many as before, so that growing stays rare."""
    made = cache.new_zeros(*cache.shape[:2], max(least, 2 * cache.shape[2]), *cache.shape[3:])
    made[:, :, : cache.shape[2]] = cache
    return made
