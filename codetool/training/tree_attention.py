"""Attention over packed examples that share prefixes: a token attends to the tokens before it in its own example.

On a CPU, attention is computed segment by segment, each over the keys of its own ancestors, so that no time is spent on
masked scores. On other devices, a dense mask is passed to PyTorch's fused attention, or a block-sparse mask to its
FlexAttention. All are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from transformers import AttentionInterface

from codetool.training.block_mask import attend_blocks, build_block_mask

AttentionMask = Literal["dense", "blocks"]
"""Mask on devices other than a CPU: a value for each pair of tokens, or the needed blocks of them."""
ATTENTION_NAME = "codetool_tree"
"""Name under which this attention is registered with transformers."""


@dataclass(frozen=True)
class Segment:
    """Consecutive tokens of one example, at indices `start` to `stop` (exclusive) of a row, and the keys they see."""

    row: int
    start: int
    stop: int
    keys: Tensor
    """`(ancestors + stop - start,)`: indices of the ancestors' tokens, then of the segment's own."""


@dataclass(frozen=True)
class TreeMask:
    """Attention pattern of a batch: segments on a CPU, a dense or a block-sparse mask on other devices."""

    segments: Sequence[Segment]
    mask: Tensor | None
    """`(rows, 1, length, length)`, True where a query attends to a key; None if another pattern is set."""
    blocks: BlockMask | None = None
    """The same by blocks, None if another pattern is set."""


def build_tree_mask(positions: Tensor, ends: Tensor, mask: AttentionMask = "dense") -> TreeMask:
    """Return the attention pattern of a batch, on the device of `positions` and `ends`, each `(rows, length)`."""
    if positions.device.type != "cpu":
        return TreeMask((), None, build_block_mask(ends)) if mask == "blocks" else TreeMask((), build_dense_mask(ends))
    return TreeMask(
        [segment for row in range(len(positions)) for segment in _split_segments(row, positions, ends)], None
    )


def build_dense_mask(ends: Tensor) -> Tensor:
    """Return the mask `(rows, 1, length, length)`: the query at index q sees the key at index k if k ≤ q < end[k]."""
    indices = torch.arange(ends.shape[1], device=ends.device)
    query, key = indices[None, :, None], indices[None, None, :]
    return ((key <= query) & (query < ends[:, None, :]))[:, None]


def _split_segments(row: int, positions: Tensor, ends: Tensor) -> list[Segment]:
    row_ends, length = ends[row], positions.shape[1]
    breaks = (positions[row, 1:] != positions[row, :-1] + 1).nonzero().flatten() + 1
    starts = [0, *breaks.tolist()]
    segments = []
    for start, stop in zip(starts, [*starts[1:], length], strict=True):
        ancestors = (row_ends[:start] > start).nonzero().flatten()
        segments.append(Segment(row, start, stop, torch.cat([ancestors, torch.arange(start, stop)])))
    return segments


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, *, scaling: float, pack: TreeMask, **_: Any
) -> tuple[Tensor, None]:
    """Compute attention of one layer: `(rows, heads, length, head)` to `(rows, length, heads, head)`."""
    if pack.blocks is not None:
        out = attend_blocks(query, key, value, pack.blocks, scaling)
    elif pack.mask is not None:
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=pack.mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
    else:
        kind = query.device.type
        if torch.is_autocast_enabled(kind):  # which does not apply to the hand-written backward pass below
            query, key, value = (tensor.to(torch.get_autocast_dtype(kind)) for tensor in (query, key, value))
        with torch.autocast(kind, enabled=False):
            out = _SegmentAttention.apply(query * scaling, key, value, pack.segments)
    return out.transpose(1, 2), None


def register_tree_attention() -> None:
    """Register the attention with transformers under `ATTENTION_NAME`."""
    AttentionInterface.register(ATTENTION_NAME, attend)


class _SegmentAttention(torch.autograd.Function):  # type: ignore[misc]
    """Attention segment by segment, with the attention weights saved for the backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment]) -> Tensor:
        rows, heads, length, head = query.shape
        out = torch.empty_like(query)
        kv, saved_weights = key.shape[1], []
        for segment in segments:
            count = segment.stop - segment.start
            segment_query = query[segment.row, :, segment.start : segment.stop].reshape(kv, -1, head)
            scores = torch.bmm(segment_query, key[segment.row, :, segment.keys].transpose(1, 2)).view(
                -1, count, len(segment.keys)
            )
            if count > 1:
                scores[..., -count:].masked_fill_(_future_mask(count), float("-inf"))
            weights = scores.softmax(-1).view(kv, -1, len(segment.keys))
            attended = torch.bmm(weights, value[segment.row, :, segment.keys])
            out[segment.row, :, segment.start : segment.stop] = attended.view(heads, count, head)
            saved_weights.append(weights)
        ctx.save_for_backward(query, key, value, out, *saved_weights)
        ctx.segments = segments
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, out, *saved_weights = ctx.saved_tensors
        for_query, for_key, for_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        kv, head = key.shape[1], query.shape[-1]
        exact = torch.promote_types(query.dtype, torch.float32)
        for segment, weights in zip(ctx.segments, saved_weights, strict=True):
            segment_slice = slice(segment.start, segment.stop)
            segment_query = query[segment.row, :, segment_slice].reshape(kv, -1, head)
            out_gradient = upstream[segment.row, :, segment_slice].reshape(kv, -1, head)
            mean = (out_gradient.to(exact) * out[segment.row, :, segment_slice].reshape(kv, -1, head)).sum(
                -1, keepdim=True
            )
            score_gradient = torch.bmm(out_gradient, value[segment.row, :, segment.keys].transpose(1, 2))
            score_gradient = weights * (score_gradient - mean.to(score_gradient.dtype))
            query_gradient = torch.bmm(score_gradient, key[segment.row, :, segment.keys])
            for_query[segment.row, :, segment_slice] = query_gradient.view(-1, segment.stop - segment.start, head)
            for_key[segment.row].index_add_(1, segment.keys, torch.bmm(score_gradient.transpose(1, 2), segment_query))
            for_value[segment.row].index_add_(1, segment.keys, torch.bmm(weights.transpose(1, 2), out_gradient))
        return for_query, for_key, for_value, None


def _future_mask(count: int) -> Tensor:
    """Return the mask `(count, count)`, True where a key comes after the query."""
    return torch.ones(count, count, dtype=torch.bool).triu_(1)
