"""Attention over packed examples that share prefixes: a token attends to the tokens before it in its own example.

On a CPU the sequence is taken segment by segment, each with the keys of its own ancestors, so that no time is spent on
what the mask would hide; elsewhere the mask is made and handed to PyTorch's fused attention. Both are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

ATTENTION_NAME = "codetool_tree"
"""Name that transformers knows this attention by."""


@dataclass(frozen=True)
class Segment:
    """Places `start` to `stop` of a row, one after the other in one example, and all that they see: `keys`."""

    row: int
    start: int
    stop: int
    keys: Tensor
    """`(ancestors + stop - start,)`: the ancestors' places, then its own."""


@dataclass(frozen=True)
class TreeMask:
    """Attention pattern of a batch: segments on a CPU, a dense mask on other devices."""

    segments: Sequence[Segment]
    mask: Tensor | None
    """`(rows, 1, length, length)`, true where a query sees a key."""


def build_tree_mask(positions: Tensor, ends: Tensor) -> TreeMask:
    """Who sees whom, from `(rows, length)` each; on the device that they are on."""
    if positions.device.type != "cpu":
        return TreeMask((), build_dense_mask(ends))
    return TreeMask(
        [segment for row in range(len(positions)) for segment in _split_segments(row, positions, ends)], None
    )


def build_dense_mask(ends: Tensor) -> Tensor:
    """`(rows, 1, length, length)`: whether the query at place q sees the key at place k, which is k ≤ q < end[k]."""
    places = torch.arange(ends.shape[1], device=ends.device)
    query, key = places[None, :, None], places[None, None, :]
    return ((key <= query) & (query < ends[:, None, :]))[:, None]


def _split_segments(row: int, positions: Tensor, ends: Tensor) -> list[Segment]:
    own, length = ends[row], positions.shape[1]
    breaks = (positions[row, 1:] != positions[row, :-1] + 1).nonzero().flatten() + 1
    starts = [0, *breaks.tolist()]
    found = []
    for start, stop in zip(starts, [*starts[1:], length], strict=True):
        ancestors = (own[:start] > start).nonzero().flatten()
        found.append(Segment(row, start, stop, torch.cat([ancestors, torch.arange(start, stop)])))
    return found


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, *, scaling: float, pack: TreeMask, **_: Any
) -> tuple[Tensor, None]:
    """Attention of one layer: `(rows, heads, length, head)` to `(rows, length, heads, head)`."""
    if pack.mask is not None:
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=pack.mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
    else:
        kind = query.device.type
        if torch.is_autocast_enabled(kind):  # which knows nothing of the way back below
            query, key, value = (each.to(torch.get_autocast_dtype(kind)) for each in (query, key, value))
        with torch.autocast(kind, enabled=False):
            out = _SegmentAttention.apply(query * scaling, key, value, pack.segments)
    return out.transpose(1, 2), None


def register_tree_attention() -> None:
    """Make the attention known to transformers under its name."""
    AttentionInterface.register(ATTENTION_NAME, attend)


class _SegmentAttention(torch.autograd.Function):  # type: ignore[misc]
    """Attention segment by segment, its weights kept for the way back."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment]) -> Tensor:
        rows, heads, length, head = query.shape
        out = torch.empty_like(query)
        kv, kept = key.shape[1], []
        for each in segments:
            count = each.stop - each.start
            asked = query[each.row, :, each.start : each.stop].reshape(kv, -1, head)
            scores = torch.bmm(asked, key[each.row, :, each.keys].transpose(1, 2)).view(-1, count, len(each.keys))
            if count > 1:
                scores[..., -count:].masked_fill_(_future_mask(count), float("-inf"))
            weights = scores.softmax(-1).view(kv, -1, len(each.keys))
            found = torch.bmm(weights, value[each.row, :, each.keys])
            out[each.row, :, each.start : each.stop] = found.view(heads, count, head)
            kept.append(weights)
        ctx.save_for_backward(query, key, value, out, *kept)
        ctx.segments = segments
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, out, *kept = ctx.saved_tensors
        for_query, for_key, for_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        kv, head = key.shape[1], query.shape[-1]
        exact = torch.promote_types(query.dtype, torch.float32)
        for each, weights in zip(ctx.segments, kept, strict=True):
            own = slice(each.start, each.stop)
            asked = query[each.row, :, own].reshape(kv, -1, head)
            above = upstream[each.row, :, own].reshape(kv, -1, head)
            mean = (above.to(exact) * out[each.row, :, own].reshape(kv, -1, head)).sum(-1, keepdim=True)
            back = torch.bmm(above, value[each.row, :, each.keys].transpose(1, 2))
            back = weights * (back - mean.to(back.dtype))
            found = torch.bmm(back, key[each.row, :, each.keys])
            for_query[each.row, :, own] = found.view(-1, each.stop - each.start, head)
            for_key[each.row].index_add_(1, each.keys, torch.bmm(back.transpose(1, 2), asked))
            for_value[each.row].index_add_(1, each.keys, torch.bmm(weights.transpose(1, 2), above))
        return for_query, for_key, for_value, None


def _future_mask(count: int) -> Tensor:
    """`(count, count)`: true where a key comes after the query."""
    return torch.ones(count, count, dtype=torch.bool).triu_(1)
