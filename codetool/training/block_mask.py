"""Block-sparse attention over packed examples on a GPU, by PyTorch's FlexAttention.

A dense mask holds a value for each pair of tokens, and attention computes every masked score. Here the scores of a
block of tokens against another are computed only where at least one of them is needed, so that the cost follows the
examples and not the square of the sequence. FlexAttention has no backward pass on a CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128
"""Number of tokens of a block in either direction, FlexAttention's default."""


def build_block_mask(ends: Tensor) -> BlockMask:
    """Return the mask by which the query at index q sees the key at index k if k ≤ q < end[k]; `(rows, length)`.

    It is built from the lowest and the highest end of each block of keys, without a value for each pair of tokens: a
    block of later queries is needed if it begins before the highest end, and is full if it does not reach beyond the
    lowest. The blocks on the diagonal are needed and are not full.
    """
    rows, length = ends.shape
    count = -(-length // BLOCK)
    padding = count * BLOCK - length
    lowest = torch.nn.functional.pad(ends, (0, padding), value=count * BLOCK).view(rows, count, BLOCK).amin(-1)
    highest = torch.nn.functional.pad(ends, (0, padding)).view(rows, count, BLOCK).amax(-1)
    first = torch.arange(count, device=ends.device) * BLOCK
    later = first[:, None] > first[None, :]
    stop = (first + BLOCK).clamp(max=length)
    whole_keys = (first + BLOCK <= length)[None, None, :]
    full = later & (stop[None, :, None] <= lowest[:, None, :]) & whole_keys & (stop - first == BLOCK)[None, :, None]
    needed = (later & (first[None, :, None] < highest[:, None, :])) | (first[:, None] == first[None, :])

    def see(row: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < ends[row, key])

    return BlockMask.from_kv_blocks(
        *_list_blocks(needed & ~full), *_list_blocks(full), BLOCK_SIZE=BLOCK, mask_mod=see, seq_lengths=(length, length)
    )


def attend_blocks(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float) -> Tensor:
    """Compute attention of one layer, `(rows, heads, length, head)`; compiled unless it runs on a CPU."""
    function = flex_attention if query.device.type == "cpu" else _compile_attention()
    out: Tensor = function(query, key, value, block_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1])
    return out


def _list_blocks(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each block of queries, the number of chosen blocks of keys, and their indices before all others.

    `chosen` is `(rows, query blocks, key blocks)`; the results have a dimension for all heads after the first.
    """
    indices = torch.argsort(chosen.int(), dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32)[:, None], indices.int()[:, None].contiguous()


@cache
def _compile_attention() -> Any:
    return torch.compile(flex_attention)
