"""Packs of examples, worked out by hand."""

import pytest

from codetool.training.batch import arrange_rows, build_batch
from codetool.training.packing import pack_examples
from codetool.training.sft_examples import SFTExample, Target

A, B, C, D, E, F = range(101, 107)


def example(*tokens, task="t", number=-1, weight=1.0):
    """An example that is asked for what comes after its last token."""
    return SFTExample(task, tokens, (Target(len(tokens) - 1, weight, example_index=number),))


def test_what_examples_start_with_in_common_is_laid_down_once():
    [made] = pack_examples([[example(A, B, C), example(A, B, D, E), example(A, F)]], 100, share=True)
    assert made.tokens == [A, B, C, D, E, F]
    assert made.positions == [0, 1, 2, 2, 3, 1]
    assert made.subtree_ends == [6, 5, 3, 5, 5, 6]


def test_readings_stand_at_their_own_leaves():
    [made] = pack_examples([[example(A, B, C), example(A, B, D, E), example(A, F)]], 100, share=True)
    assert [target.position for target in made.targets] == [2, 4, 5]


def test_every_reading_of_an_example_moves_to_its_place():
    written = SFTExample("t", (A, C, D), (Target(0, token=C), Target(1, token=D), Target(2, token=E)))
    [made] = pack_examples([[example(A, B), written]], 100, share=True)
    assert made.tokens == [A, B, C, D]
    assert [(target.position, target.token) for target in made.targets] == [(1, -1), (0, C), (2, D), (3, E)]


def test_an_example_that_starts_another_adds_no_token():
    [made] = pack_examples([[example(A, B, C), example(A, B)]], 100, share=True)
    assert made.tokens == [A, B, C]
    assert made.subtree_ends == [3, 3, 3]
    assert sorted(target.position for target in made.targets) == [1, 2]


def test_equal_examples_are_read_at_one_place():
    [made] = pack_examples([[example(A, B, number=1), example(A, B, number=2)]], 100, share=True)
    assert made.tokens == [A, B]
    assert [(target.position, target.example_index) for target in made.targets] == [(1, 1), (1, 2)]


def test_examples_of_a_group_are_ordered_so_that_they_share_the_most():
    [made] = pack_examples([[example(A, B, C), example(A, D), example(A, B, E)]], 100, share=True)
    assert made.tokens == [A, B, C, E, D]


def test_a_group_goes_on_from_the_one_before_it_where_both_start_alike():
    [made] = pack_examples([[example(A, B, C)], [example(A, B, D, task="u")]], 100, share=True)
    assert made.tokens == [A, B, C, D]
    assert made.subtree_ends == [4, 4, 3, 4]


def test_a_common_token_later_on_is_not_a_common_start():
    [made] = pack_examples([[example(A, C), example(B, C)]], 100, share=True)
    assert made.tokens == [A, C, B, C]
    assert made.subtree_ends == [2, 2, 4, 4]


def test_without_sharing_examples_lie_whole_in_their_own_order():
    [made] = pack_examples([[example(A, C), example(A, B)]], 100, share=False)
    assert made.tokens == [A, C, A, B]
    assert made.positions == [0, 1, 0, 1]
    assert made.subtree_ends == [2, 2, 4, 4]
    assert [target.position for target in made.targets] == [1, 3]


def test_room_counts_what_is_laid_down():
    group = [example(A, B, C), example(A, B, D), example(A, B, E)]
    assert [each.tokens for each in pack_examples([group], 5, share=True)] == [[A, B, C, D, E]]
    assert [each.tokens for each in pack_examples([group], 4, share=True)] == [[A, B, C, D], [A, B, E]]


def test_packs_end_where_least_is_laid_down_again():
    """Filled to the last token, the first pack would take (B, C), and (B, D) could not share B with it."""
    group = [example(A, C), example(A, D), example(B, C), example(B, D), example(B, E)]
    assert [each.tokens for each in pack_examples([group], 5, share=True)] == [[A, C, D], [B, C, D, E]]


def test_packs_are_as_few_as_they_can_be():
    assert [each.tokens for each in pack_examples([[example(A)], [example(B)], [example(C)]], 2, share=False)] == [
        [A, B],
        [C],
    ]


def test_a_new_pack_starts_with_the_whole_example():
    second = pack_examples([[example(A, B, C), example(A, B, D)]], 3, share=True)[1]
    assert (second.tokens, second.positions, second.subtree_ends) == ([A, B, D], [0, 1, 2], [3, 3, 3])


def test_an_example_longer_than_the_room_has_a_pack_of_its_own():
    made = pack_examples([[example(A), example(B, C, D, E), example(F)]], 2, share=False)
    assert [each.tokens for each in made] == [[A], [B, C, D, E], [F]]


def test_no_example_is_lost_or_doubled():
    groups = [[example(t, *path, task=f"{t}", number=10 * t + i) for i, path in enumerate(PATHS)] for t in range(7)]
    for batching in ("padded", "packed", "tree"):
        rows = [row for rows in arrange_rows(groups, batching, 9) for row in rows]
        numbers = sorted(target.example_index for row in rows for target in row.targets)
        assert numbers == [10 * t + i for t in range(7) for i in range(len(PATHS))]
        assert sum(row.examples for row in rows) == 7 * len(PATHS)


PATHS = [(A, B, C), (A, B, D, E), (A, F), (B, A, B, C, D, E), (B, A)]


@pytest.mark.parametrize("batching", ["padded", "packed", "tree"])
def test_every_reading_sees_its_example_and_nothing_else(batching):
    """By the formula: place q sees place k if k ≤ q < end[k]."""
    group = [example(*path, number=i) for i, path in enumerate(PATHS)]
    for rows in arrange_rows([group], batching, 12):
        made = build_batch(rows, 1.0)
        tokens, positions, ends = (each.flatten().tolist() for each in (made.tokens, made.positions, made.subtree_ends))
        length = made.tokens.shape[1]
        for number, place in zip(made.example_indices, made.target_positions.tolist(), strict=True):
            row = place - place % length
            seen = [k for k in range(row, place + 1) if k <= place < row + ends[k]]
            assert tuple(tokens[k] for k in seen) == PATHS[number]
            assert [positions[k] for k in seen] == list(range(len(seen)))


def test_padded_rows_are_of_like_length_and_hold_one_example_each():
    lengths = [2, 9, 3, 8, 2, 9]
    passes = arrange_rows([[example(*range(length)) for length in lengths]], "padded", 18)
    assert [[len(row.tokens) for row in rows] for rows in passes] == [[2, 2, 3], [8, 9], [9]]


def test_room_of_padded_rows_counts_padding():
    for rows in arrange_rows([[example(*range(length)) for length in range(1, 30)]], "padded", 40):
        assert len(rows) * max(len(row.tokens) for row in rows) <= 40


def test_padding_is_seen_by_itself_alone():
    [rows] = arrange_rows([[example(A), example(A, B, C)]], "padded", 100)
    made = build_batch(rows, 1.0)
    assert made.tokens.tolist() == [[A, 0, 0], [A, B, C]]
    assert made.positions.tolist() == [[0, 0, 1], [0, 1, 2]]
    assert made.subtree_ends.tolist() == [[1, 3, 3], [3, 3, 3]]
    assert made.target_positions.tolist() == [0, 5]


def test_a_batch_holds_what_is_wanted_and_what_it_weighs():
    asked = SFTExample("t", (A, B), (Target(0, 2.0, token=B), Target(1, 0.5, label_prob=0.25, example_index=3)))
    made = build_batch(pack_examples([[asked]], 10, share=True), 7.0)
    assert made.weights.tolist() == [2.0, 0.5]
    assert made.target_tokens.tolist() == [B, -1]
    assert made.label_probs.tolist() == [0.0, 0.25]
    assert (made.example_indices, made.total_weight, made.examples) == ((-1, 3), 7.0, 1)


@pytest.mark.parametrize(("batching", "read"), [("padded", 7), ("packed", 7), ("tree", 5)])
def test_a_batch_counts_the_tokens_that_are_read(batching, read):
    """Neither what fills rows up nor what examples have in common once more."""
    [rows] = arrange_rows([[example(A, B, C), example(A, B, D, E)]], batching, 8)
    assert build_batch(rows, 1.0).num_tokens == read
