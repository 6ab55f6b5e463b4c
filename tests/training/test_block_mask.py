"""The block-sparse mask of FlexAttention, against the mask that the formula gives and the attention used on a CPU."""

import pytest
import torch
from test_tree_attention import tree

from codetool.training import tree_attention
from codetool.training.batch import build_batch
from codetool.training.block_mask import BLOCK, build_block_mask
from codetool.training.packing import pack_examples
from codetool.training.sft_examples import SFTExample, Target


def batch_of(*lengths_and_seeds):
    """A batch with a row for each (seed, step, prefix): a tree with steps and a prompt of up to so many tokens."""
    rows = [
        pack_examples([tree(seed, children=3, depth=3, prefix=prefix, step=step)], 10**6, share=True)[0]
        for seed, step, prefix in lengths_and_seeds
    ]
    return build_batch(rows, 1.0)


CASES = {
    "less than a block": [(1, 3, 6)],
    "many blocks": [(2, 60, 300)],
    "rows of different lengths": [(3, 50, 200), (4, 10, 20)],
    "no prefix in common": [(5, 80, 0)],
}


@pytest.fixture(params=CASES)
def made(request):
    return batch_of(*CASES[request.param])


def test_blocks_are_needed_or_full_as_the_formula_says(made):
    dense = tree_attention.build_dense_mask(made.subtree_ends)[:, 0]
    mask = build_block_mask(made.subtree_ends)
    length = dense.shape[1]
    count = -(-length // BLOCK)
    for row in range(len(dense)):
        for i in range(count):
            partial = set(mask.kv_indices[row, 0, i, : mask.kv_num_blocks[row, 0, i]].tolist())
            full = set(mask.full_kv_indices[row, 0, i, : mask.full_kv_num_blocks[row, 0, i]].tolist())
            blocks = [dense[row, i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK] for j in range(count)]
            whole = {j for j, block in enumerate(blocks) if block.shape == (BLOCK, BLOCK) and block.all()}
            assert full == whole and not full & partial
            assert full | partial == {j for j, block in enumerate(blocks) if block.any()}


def test_a_prompt_that_all_steps_share_is_full_and_siblings_are_not_needed():
    mask = build_block_mask(torch.tensor([[640] * 256 + [448] * 192 + [640] * 192]))
    assert mask.full_kv_num_blocks[0, 0].tolist() == [0, 1, 2, 2, 2]
    assert mask.kv_num_blocks[0, 0].tolist() == [1, 1, 1, 2, 2]
    assert set(mask.kv_indices[0, 0, 4, :2].tolist()) == {
        3,
        4,
    }  # 2 is the sibling's


@pytest.mark.slow  # FlexAttention is traced for seconds
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_by_blocks_is_that_by_segments(made):
    """Forward alone: FlexAttention has no backward pass on a CPU."""
    heads, kv = 6, 2
    generator = torch.Generator().manual_seed(0)
    rows, length = made.tokens.shape
    query, key, value = (
        torch.randn(rows, n, length, 16, dtype=torch.float64, generator=generator) for n in (heads, kv, kv)
    )
    by_blocks = tree_attention.TreeMask((), None, build_block_mask(made.subtree_ends))
    by_segments = tree_attention.build_tree_mask(made.positions, made.subtree_ends)
    found, expected = (
        tree_attention.attend(None, query, key, value, None, scaling=0.3, pack=pack)[0]
        for pack in (by_blocks, by_segments)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_mask_of_other_devices_is_chosen():
    ends = torch.full((1, 300), 300, device="meta")
    assert tree_attention.build_tree_mask(ends, ends).mask is not None
    chosen = tree_attention.build_tree_mask(ends, ends, "blocks")
    assert chosen.blocks is not None and chosen.mask is None


def test_padding_does_not_see_an_example():
    example = SFTExample("t", tuple(range(200)), (Target(0),))
    short = SFTExample("t", tuple(range(20)), (Target(0),))
    padded = build_batch([pack_examples([[each]], 999, share=False)[0] for each in (example, short)], 1.0)
    mask = build_block_mask(padded.subtree_ends)
    assert not mask.mask_mod(torch.tensor(1), torch.tensor(0), torch.tensor(150), torch.tensor(5))
    assert mask.mask_mod(torch.tensor(1), torch.tensor(0), torch.tensor(19), torch.tensor(5))
