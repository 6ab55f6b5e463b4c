"""Prompts of one request, put together by what they share."""

from codetool.models.scoring_worker import group_by_prefix

SIBLINGS = [(1, 2, 3, 4, 5), (1, 2, 3, 9), (1, 2, 3, 4, 6, 7)]
OTHERS = [(8, 8, 1, 2), (8, 8, 1)]


def test_siblings_are_together_and_strangers_apart_whatever_their_order() -> None:
    found = group_by_prefix([SIBLINGS[0], OTHERS[0], *SIBLINGS[1:], OTHERS[1]])
    assert [set(group) for group in found] == [set(SIBLINGS), set(OTHERS)]


def test_prompts_with_little_in_common_are_alone() -> None:
    assert group_by_prefix([(1, 2, 3, 4, 5), (1, 6, 7, 8, 9)]) == [[(1, 2, 3, 4, 5)], [(1, 6, 7, 8, 9)]]


def test_no_prompts_are_no_families() -> None:
    assert group_by_prefix([]) == []
