"""The keys and values of all candidates being written, side by side, so that one product attends for all of them.

A group, the candidates after one prefix, has a slot: the prefix's keys and values once, and those of each row's own
tokens. What a slot lacks of its length is masked, and slots have a few lengths only. Attention of a layer is then a
handful of operations however many groups there are; group by group it would be some for each, and on a CPU their start
costs more than their work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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
    """Candidates after one prefix while they are being written."""

    prefix: Prefix
    alive: list[int]
    """Rows still being written, by their number in the slot."""
    room: int
    """Tokens that a row may have."""
    length: int = 0
    """Tokens that each row has by now."""

    @property
    def rows(self) -> int:
        """How many candidates are still being written."""
        return len(self.alive)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows."""
        self.alive = [self.alive[row] for row in rows]


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
    """Slots of one length."""

    def __init__(self, layers: int, kv_heads: int, head: int, dtype: torch.dtype, length: int) -> None:
        """No slot yet; `length` is in tokens."""
        self._held: list[Group | None] = []
        self._shared = torch.empty(layers, 2, 0, kv_heads, length, head, dtype=dtype)
        """`(layers, 2, slots, kv_heads, tokens, head)`."""
        self._own = torch.empty(layers, 2, 0, 0, kv_heads, 0, head, dtype=dtype)
        """`(layers, 2, slots, rows, kv_heads, tokens, head)`."""

    def hold(self, groups: Sequence[Group]) -> None:
        """As `Slots.hold`, for groups of this kind."""
        wanted = set(map(id, groups))
        self._held = [group if group and id(group) in wanted else None for group in self._held]
        while self._held and self._held[-1] is None:
            self._held.pop()
        known = {id(group) for group in self._held if group}
        for group in groups:
            if id(group) not in known:
                self._enter(group)
        self._place(groups)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `Slots.attend`, for the rows of this kind."""
        slots, rows, length, own = len(self._held), self._own.shape[3], self._shared.shape[4], self._written
        kv, head = key.shape[1:]
        self._own[layer, 0][self._slot, self._row, :, self._at] = key
        self._own[layer, 1][self._slot, self._row, :, self._at] = value
        spread = query.new_zeros(slots * rows, query.shape[1], head)
        spread[self._where] = query * head**-0.5
        spread = spread.view(slots, rows, kv, -1, head)
        by_slot = spread.transpose(1, 2).reshape(slots * kv, -1, head)
        by_row = spread.view(slots * rows * kv, -1, head)
        keys, values = self._shared[layer, :, :slots].view(2, -1, length, head)  # cut shorter, bmm would copy them
        own_keys, own_values = self._own[layer, :, :slots].flatten(1, 3)[:, :, :own]
        to_shared = torch.bmm(by_slot, keys.transpose(1, 2)).view(slots, kv, rows, -1, length).transpose(1, 2)
        to_own = torch.bmm(by_row, own_keys.transpose(1, 2)).view(slots, rows, kv, -1, own)
        weights = (torch.cat([to_shared, to_own], -1).float() + self._mask).softmax(-1).to(query.dtype)
        of_shared = weights[..., :length].transpose(1, 2).reshape(slots * kv, -1, length)
        of_own = weights[..., length:].reshape(slots * rows * kv, -1, own)
        found = torch.bmm(of_shared, values).view(slots, kv, rows, -1, head).transpose(1, 2)
        found = found + torch.bmm(of_own, own_values).view(slots, rows, kv, -1, head)
        return found.reshape(slots * rows, -1)[self._where]

    def _enter(self, group: Group) -> None:
        """Copy a prefix into the first free slot, after making room for it."""
        if None not in self._held:
            self._held.append(None)
        slot = self._held.index(None)
        self._held[slot] = group
        tokens = len(group.prefix.tokens)
        rows = max(group.alive) + 1
        self._shared = _grown(self._shared, {2: slot + 1})
        self._own = _grown(self._own, {2: slot + 1, 3: rows, 5: group.room})
        self._shared[:, :, slot, :, :tokens] = group.prefix.cache

    def _place(self, groups: Sequence[Group]) -> None:
        """Where each row of the step lies, and what it may see."""
        slots = {id(group): slot for slot, group in enumerate(self._held)}
        places = [(slots[id(group)], row, group.length) for group in groups for row in group.alive]
        self._slot, self._row, self._at = torch.tensor(places).unbind(1)
        self._where = self._slot * self._own.shape[3] + self._row
        prefixes = torch.tensor([len(group.prefix.tokens) if group else 0 for group in self._held])
        written = torch.tensor([group.length + 1 if group else 0 for group in self._held])
        self._written = int(written.max())
        seen = torch.cat(
            [
                torch.arange(self._shared.shape[4]) < prefixes[:, None],
                torch.arange(self._written) < written[:, None],
            ],
            -1,
        )
        mask = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))
        self._mask = mask[:, None, None, None]
        """`(slots, 1, 1, 1, tokens)`, added to scores."""


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
