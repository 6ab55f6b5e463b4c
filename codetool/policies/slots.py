"""The keys and values of all candidates being written, side by side, so that one product attends for all of them.

A group, the candidates after one prefix, has a slot with the prefix's keys and values; each of its rows has a place
with those of its own tokens. What a slot lacks of its length is masked, and slots have a few lengths only. Attention of
a layer is then a handful of operations however many groups there are; group by group it would be some for each, and on
a CPU their start costs more than their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import torch
from torch import Tensor

LEAST = 256
"""Tokens of the shortest slots; those of each next kind are twice as long."""


@dataclass(frozen=True)
class Prefix:
    """The keys and values of a prompt, never changed: `(layers, 2, kv_heads, tokens, head)`."""

    tokens: tuple[int, ...]
    cache: Tensor


@dataclass(eq=False)
class Group:
    """Candidates after one prefix while they are being written; those with the same tokens up to now are one row."""

    prefix: Prefix
    room: int
    """Tokens that a row may have."""
    length: int = 0
    """Tokens that each row has by now."""
    alive: list[int] = field(default_factory=lambda: [0])
    """The rows still being written, each by a number of its own."""
    forks: list[tuple[int, int]] = field(default_factory=list)
    """Rows to be copied before the next step: from which, to which."""
    made: int = 1
    """Rows that there have been."""

    @property
    def rows(self) -> int:
        """How many rows are being written."""
        return len(self.alive)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, by their place; one that is named again goes on as a copy as well."""
        kept: list[int] = []
        for number in (self.alive[row] for row in rows):
            if number in kept:
                self.forks.append((number, self.made))
                number, self.made = self.made, self.made + 1
            kept.append(number)
        self.alive = kept


class Slots:
    """Where all groups lie, those of like length together. `hold` before each step, `attend` in every layer of it."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype) -> None:
        """No slot yet."""
        self._new = partial(_Kind, layers, kv_heads, head, dtype)
        self._kinds: dict[int, _Kind] = {}
        self._rows: dict[int, Tensor] = {}
        """Which rows of a step are of a kind."""

    def hold(self, groups: Sequence[Group]) -> None:
        """Give every group a slot, and forget the others."""
        kinds: dict[int, list[Group]] = {}
        rows: dict[int, list[int]] = {}
        row = 0
        for group in groups:
            kind = _length(group)
            kinds.setdefault(kind, []).append(group)
            rows.setdefault(kind, []).extend(range(row, row + group.rows))
            row += group.rows
        self._kinds = {kind: self._kinds.get(kind) or self._new(kind) for kind in kinds}
        self._rows = {kind: torch.tensor(some) for kind, some in rows.items()}
        for kind, some in kinds.items():
            self._kinds[kind].hold(some)

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


def _length(group: Group) -> int:
    """Tokens of the slots that the group's prefix fits into."""
    length = LEAST
    while length < len(group.prefix.tokens):
        length *= 2
    return length


class _Kind:
    """Slots of one length, and the rows of the groups in them."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype, length: int) -> None:
        """No slot yet; `length` is in tokens."""
        self._held: list[Group | None] = []
        self._rows: dict[tuple[int, int], int] = {}
        """Where a row lies in `_own`, by its group's slot and its number."""
        self._shared = torch.empty(layers, 2, 0, kv_heads, length, head, dtype=dtype)
        """`(layers, 2, slots, kv_heads, tokens, head)`."""
        self._own = torch.empty(layers, 2, 0, kv_heads, 0, head, dtype=dtype)
        """`(layers, 2, rows, kv_heads, tokens, head)`."""

    def hold(self, groups: Sequence[Group]) -> None:
        """As `Slots.hold`, for groups of this kind."""
        wanted = set(map(id, groups))
        self._held = [group if group and id(group) in wanted else None for group in self._held]
        while self._held and self._held[-1] is None:
            self._held.pop()
        slots = {id(group): slot for slot, group in enumerate(self._held) if group}
        self._rows = {(slot, row): at for (slot, row), at in self._rows.items() if slot in slots.values()}
        for group in groups:
            if id(group) not in slots:
                slots[id(group)] = self._enter(group)
            self._branch(group, slots[id(group)])
        self._place(groups, slots)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `Slots.attend`, for the rows of this kind."""
        rows, heads, head = query.shape
        slots, length, own = len(self._held), self._shared.shape[4], self._written
        self._own[layer, 0][self._row, :, self._at] = key
        self._own[layer, 1][self._row, :, self._at] = value
        keys, values = self._shared[layer, :, :slots].view(2, -1, length, head)  # cut shorter, bmm would copy them
        own_keys, own_values = self._own[layer, :, : self._used].flatten(1, 2)[:, :, :own]
        query = query * head**-0.5
        to_shared = torch.bmm(self._by_slot(query), keys.transpose(1, 2))
        to_own = torch.bmm(self._by_row(query), own_keys.transpose(1, 2)).view(-1, heads, own)[self._row]
        weights = torch.cat([self._of_slots(to_shared), to_own], -1).float() + self._mask
        weights = weights.softmax(-1).to(query.dtype)
        found = self._of_slots(torch.bmm(self._by_slot(weights[..., :length]), values))
        found = found + torch.bmm(self._by_row(weights[..., length:]), own_values).view(-1, heads, head)[self._row]
        return found.view(rows, -1)

    def _enter(self, group: Group) -> int:
        """The first free slot, the group's prefix copied into it."""
        if None not in self._held:
            self._held.append(None)
        slot = self._held.index(None)
        self._held[slot] = group
        self._shared = _grown(self._shared, {2: slot + 1})
        self._shared[:, :, slot, :, : len(group.prefix.tokens)] = group.prefix.cache
        return slot

    def _branch(self, group: Group, slot: int) -> None:
        """Give the group's new rows places, copy those that have tokens, and free the places of rows that are gone."""
        for source, new in group.forks:
            if (slot, source) in self._rows:
                at = self._rows[slot, new] = self._free(group.room)
                self._own[:, :, at, :, : group.length] = self._own[:, :, self._rows[slot, source], :, : group.length]
        group.forks.clear()
        for row in {row for of, row in self._rows if of == slot} - set(group.alive):
            del self._rows[slot, row]
        for row in group.alive:
            if (slot, row) not in self._rows:
                self._rows[slot, row] = self._free(group.room)

    def _free(self, room: int) -> int:
        """The first place of no row."""
        taken = set(self._rows.values())
        at = next(place for place in count() if place not in taken)
        self._own = _grown(self._own, {2: at + 1, 4: room})
        return at

    def _place(self, groups: Sequence[Group], slots: dict[int, int]) -> None:
        """Where each row of the step lies, and what it may see."""
        of = torch.tensor([slots[id(group)] for group in groups for _ in group.alive])
        rank = torch.tensor([place for group in groups for place in range(group.rows)])
        self._row = torch.tensor([self._rows[slots[id(group)], row] for group in groups for row in group.alive])
        self._at = torch.tensor([group.length for group in groups for _ in group.alive])
        self._used = max(self._rows.values()) + 1
        self._most = max(group.rows for group in groups)
        self._where = of * self._most + rank
        self._written = int(self._at.max()) + 1
        prefixes = torch.tensor([len(group.prefix.tokens) for group in groups for _ in group.alive])
        seen = torch.cat(
            [
                torch.arange(self._shared.shape[4]) < prefixes[:, None],
                torch.arange(self._written) <= self._at[:, None],
            ],
            -1,
        )
        self._mask = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))[:, None]
        """`(rows, 1, tokens)`, added to scores."""

    def _by_slot(self, of_rows: Tensor) -> Tensor:
        """`(rows, heads, x)` as `(slots · kv_heads, rows of a slot · heads of a key, x)`, 0 where a slot has no row."""
        slots, kv, width = len(self._held), self._shared.shape[3], of_rows.shape[-1]
        spread = of_rows.new_zeros(slots * self._most, *of_rows.shape[1:])
        spread[self._where] = of_rows
        return spread.view(slots, self._most, kv, -1, width).transpose(1, 2).reshape(slots * kv, -1, width)

    def _of_slots(self, by_slot: Tensor) -> Tensor:
        """The inverse of `_by_slot`."""
        slots, kv, width = len(self._held), self._shared.shape[3], by_slot.shape[-1]
        spread = by_slot.view(slots, kv, self._most, -1, width).transpose(1, 2)
        return spread.reshape(slots * self._most, -1, width)[self._where]

    def _by_row(self, of_rows: Tensor) -> Tensor:
        """`(rows, heads, x)` as `(places · kv_heads, heads of a key, x)`, 0 where no row lies."""
        spread = of_rows.new_zeros(self._used, *of_rows.shape[1:])
        spread[self._row] = of_rows
        return spread.view(self._used * self._shared.shape[3], -1, of_rows.shape[-1])


def _grown(tensor: Tensor, least: dict[int, int]) -> Tensor:
    """The tensor with at least these sizes, its content kept; slots are doubled, so that growing stays rare."""
    sizes = list(tensor.shape)
    for axis, size in least.items():
        if sizes[axis] < size:
            sizes[axis] = max(size, 2 * sizes[axis]) if axis == 2 else size
    if sizes == list(tensor.shape):
        return tensor
    made = tensor.new_zeros(sizes)
    made[tuple(slice(size) for size in tensor.shape)] = tensor
    return made
