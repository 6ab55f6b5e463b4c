"""The tree of computed prompts, with caches that hold the tokens themselves."""

import torch

from codetool.models.prefix_tree import PrefixTree


def cache(tokens):
    return torch.tensor(tokens).view(1, 1, 1, -1, 1)


def known(tree, tokens):
    """The tokens that the caches of the longest known start hold."""
    segment, length = tree.find_longest(tokens)
    held = [token for part in segment.caches for token in part.flatten().tolist()]
    assert len(held) == length
    return held


def tree(room, *prompts):
    made = PrefixTree(room)
    for prompt in prompts:
        here, done = made.find_longest(prompt)
        if done < len(prompt):
            made.add(here, prompt[done:], cache(prompt[done:]))
    return made


def test_the_longest_known_start_is_found_inside_a_segment_too():
    made = tree(100, [1, 2, 3, 4], [1, 2, 5], [1, 2, 5, 6])
    for tokens, start in [([1, 2, 5, 6, 9], 4), ([1, 2, 3, 9], 3), ([1, 2, 9], 2), ([1, 9], 1), ([9], 0), ([], 0)]:
        assert known(made, tokens) == tokens[:start]


def test_what_prompts_share_is_kept_once():
    assert tree(100, [1, 2, 3, 4], [1, 2, 5], [1, 2, 5, 6]).tokens == 6


def test_the_least_recently_used_end_goes_first_and_the_start_stays_while_it_is_needed():
    made = tree(4, [1, 2, 3], [1, 2, 4], [1, 2, 5])
    made.find_longest([1, 2, 3])
    made.evict()
    assert made.tokens == 4
    assert [known(made, [1, 2, end]) for end in (3, 4, 5)] == [[1, 2, 3], [1, 2], [1, 2, 5]]


def test_a_forgotten_segment_still_serves_its_holder_and_counts_no_more():
    made = tree(0, [1, 2])
    held, _ = made.find_longest([1, 2])
    made.evict()
    below = made.add(held, [3], cache([3]))
    assert made.tokens == 0 and known(made, [1, 2]) == []
    assert [token for part in below.caches for token in part.flatten().tolist()] == [1, 2, 3]


def test_a_held_segment_survives_a_cut_through_it():
    made = tree(100, [1, 2, 3])
    held, _ = made.find_longest([1, 2, 3])
    made.find_longest([1, 9])
    assert [token for part in held.caches for token in part.flatten().tolist()] == [1, 2, 3]
