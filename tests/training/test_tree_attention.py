"""Attention over trees, against PyTorch's attention under the mask that the formula gives."""

import random

import pytest
import torch
import torch.nn.functional as F

from codetool.training import tree_attention
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.packing import pack_examples
from codetool.training.sft_examples import SFTExample, Target

ENDING = (7, 8, 9)
"""As a chat template ends a prompt: after every step of a path."""


def tree(seed, children=2, depth=3, prefix=6, step=5):
    """Examples of a rollout tree: a prompt for every node, which ends alike for all."""
    draw = random.Random(seed)

    def below(path, left):
        for child in range(draw.randint(1, children) if left else 0):
            longer = (*path, 1000 + child, *(draw.randrange(10, 100) for _ in range(draw.randint(0, step))))
            yield SFTExample(f"{seed}", (*longer, *ENDING), (Target(len(longer) + len(ENDING) - 1),))
            yield from below(longer, left - 1)

    return list(below(tuple(draw.randrange(10, 100) for _ in range(prefix)), depth))


CASES = {
    "one token": ([[SFTExample("t", (5,), (Target(0),))]], "tree", 100),
    "a chain": ([tree(0, children=1)], "tree", 1000),
    "a tree": ([tree(1)], "tree", 1000),
    "wide": ([tree(3, children=5, depth=2)], "tree", 1000),
    "deep, no step": ([tree(4, depth=6, step=0)], "tree", 1000),
    "no prefix in common": ([tree(5, prefix=0)], "tree", 1000),
    "trees side by side": ([tree(seed) for seed in range(4)], "tree", 1000),
    "a tree in parts": ([tree(6, depth=4)], "tree", 40),
    "packed": ([tree(7)], "packed", 60),
    "padded": ([tree(8)], "padded", 90),
}


@pytest.fixture(params=[(case, heads) for case in CASES for heads in ((4, 4), (6, 2), (3, 1))], ids=str)
def asked(request):
    """Batches of a case, with queries, keys, values and an upstream gradient in float64."""
    (groups, batching, room), (heads, kv) = CASES[request.param[0]], request.param[1]
    made = []
    for rows in arrange_rows(groups, batching, room):
        each = build_batch(rows, 1.0)
        generator = torch.Generator().manual_seed(0)
        shape = (len(rows), each.tokens.shape[1], 8)
        query, key, value, upstream = (
            torch.randn(shape[0], n, *shape[1:], dtype=torch.float64, generator=generator)
            for n in (heads, kv, kv, heads)
        )
        made.append((each, query, key, value, upstream.transpose(1, 2)))
    return made


def mask(each):
    """`(rows, 1, length, length)` by the formula: q sees k if k ≤ q < end[k]."""
    q = torch.arange(each.tokens.shape[1])[:, None]
    k = torch.arange(each.tokens.shape[1])[None, :]
    return torch.stack([(k <= q) & (q < ends[None, :]) for ends in each.subtree_ends])[:, None]


def differentiated(function, *inputs, upstream):
    leaves = [each.clone().requires_grad_() for each in inputs]
    out = function(*leaves)
    out.backward(upstream)
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def test_outputs_and_gradients_are_those_of_masked_attention(asked):
    for each, query, key, value, upstream in asked:
        pack, scale = tree_attention.build_tree_mask(each.positions, each.subtree_ends), 0.3
        groups = query.shape[1] // key.shape[1]

        def ours(q, k, v, pack=pack, scale=scale):
            return tree_attention.attend(None, q, k, v, None, scaling=scale, pack=pack)[0]

        seen = mask(each)

        def masked(q, k, v, seen=seen, scale=scale, groups=groups):
            k, v = (x.repeat_interleave(groups, 1) for x in (k, v))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale).transpose(1, 2)

        found = differentiated(ours, query, key, value, upstream=upstream)
        expected = differentiated(masked, query, key, value, upstream=upstream)
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)


def test_the_padding_of_a_row_is_one_stretch():
    rows = [
        pack_examples([[SFTExample("t", tuple(range(length)), (Target(0),))]], 10, share=False)[0]
        for length in (2, 5, 9)
    ]
    padded = build_batch(rows, 1.0)
    found = [
        (each.row, each.start, each.stop)
        for each in tree_attention.build_tree_mask(padded.positions, padded.subtree_ends).segments
    ]
    assert found == [(0, 0, 2), (0, 2, 9), (1, 0, 5), (1, 5, 9), (2, 0, 9)]


def test_devices_that_take_a_mask_get_the_one_of_the_formula(asked):
    """Only a CPU goes segment by segment; the path of other devices is walked here on a CPU."""
    for each, query, key, value, _ in asked:
        pack = tree_attention.build_tree_mask(each.positions, each.subtree_ends)
        other = tree_attention.TreeMask((), tree_attention.build_dense_mask(each.subtree_ends))
        assert torch.equal(other.mask, mask(each))
        found, expected = (
            tree_attention.attend(None, query, key, value, None, scaling=0.3, pack=some)[0] for some in (other, pack)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_bfloat16_gradients_stay_close_to_exact_ones(asked):
    for each, *exact, upstream in asked:
        pack = tree_attention.build_tree_mask(each.positions, each.subtree_ends)

        def ours(q, k, v, pack=pack):
            return tree_attention.attend(None, q, k, v, None, scaling=0.3, pack=pack)[0]

        rounded = [x.bfloat16() for x in exact]
        found = differentiated(ours, *rounded, upstream=upstream.bfloat16())
        expected = differentiated(ours, *(x.double() for x in rounded), upstream=upstream.bfloat16().double())
        for mine, theirs in zip(found, expected, strict=True):
            assert (mine.double() - theirs).norm() <= 0.02 * theirs.norm() + 1e-9


def test_a_second_way_back_gives_the_same(asked):
    """As gradient checkpointing and accumulation do: nothing that is kept is changed by its use."""
    each, query, key, value, upstream = asked[0]
    pack = tree_attention.build_tree_mask(each.positions, each.subtree_ends)
    query.requires_grad_()
    out, _ = tree_attention.attend(None, query, key, value, None, scaling=0.3, pack=pack)
    [first] = torch.autograd.grad(out, query, upstream, retain_graph=True)
    [second] = torch.autograd.grad(out, query, upstream)
    assert torch.equal(first, second)
