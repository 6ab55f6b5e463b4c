"""Draws of other runs stand for draws of this one where they are the same, at the cost that it would have alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from codetool.model_types import Sampling
from codetool.policies.recorded import CandidateRecord, RecordingPolicy
from codetool.policies.shared import SharedDraws
from codetool.prompts.policy_prompt import StepPrompt
from codetool.prompts.step_parser import parse_step
from codetool.types import Candidate, Node, Task

SAMPLING = Sampling(0.9, 0.95, 64)


class Drawing:
    """A policy whose candidate depends on its index alone, or, like a server, on how many are drawn with it."""

    def __init__(self, by_index: bool) -> None:
        self.draws_by_index = by_index
        self.asked: list[tuple[int, int]] = []

    async def propose(
        self,
        task: Task,
        path: Sequence[Node],
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        tried: Sequence[Node] = (),
    ) -> Sequence[Candidate]:
        self.asked.append((first, n))
        texts = [f"##Step 1: {i} {'' if self.draws_by_index else f'of {first}+{n}'}" for i in range(first, first + n)]
        return [Candidate(text, parse_step(text, 1), 5 if i == 0 else 0, 3) for i, text in enumerate(texts)]

    def with_prompt(self, prompt: Any, sampling: Sampling) -> Drawing:
        return self


async def drawn_by(
    inner: Any, prompt: StepPrompt, task: Task, *calls: tuple[int, int]
) -> tuple[Any, list[CandidateRecord]]:
    records: list[CandidateRecord] = []
    policy = RecordingPolicy(inner, prompt=prompt, sampling=SAMPLING, records=(), append=records.extend)
    return [await policy.propose(task, (), n, first=first) for first, n in calls], records


@pytest.mark.parametrize("by_index", [True, False])
@pytest.mark.parametrize("before", [[(0, 2)], [(0, 4)], [(0, 6)], [(0, 2), (2, 2)], [(0, 1), (1, 3)], [(2, 2)]])
@pytest.mark.parametrize("calls", [[(0, 4)], [(0, 2), (2, 2)], [(0, 4), (4, 2)]])
async def test_sharing_changes_neither_candidates_nor_costs(
    task: Task, prompt: StepPrompt, by_index: bool, before: list[tuple[int, int]], calls: list[tuple[int, int]]
) -> None:
    _, known = await drawn_by(Drawing(by_index), prompt, task, *before)
    alone, records = await drawn_by(Drawing(by_index), prompt, task, *calls)
    shared = SharedDraws(Drawing(by_index), prompt=prompt, sampling=SAMPLING, records=known)
    assert await drawn_by(shared, prompt, task, *calls) == (alone, records)


async def test_a_draw_of_the_same_size_is_not_made_again(task: Task, prompt: StepPrompt) -> None:
    _, known = await drawn_by(Drawing(False), prompt, task, (0, 3), (3, 2))
    inner = Drawing(False)
    await drawn_by(SharedDraws(inner, prompt=prompt, sampling=SAMPLING, records=known), prompt, task, (0, 3), (3, 2))
    assert not inner.asked


async def test_a_policy_that_draws_by_index_draws_what_is_missing(task: Task, prompt: StepPrompt) -> None:
    _, known = await drawn_by(Drawing(True), prompt, task, (0, 2))
    inner = Drawing(True)
    await drawn_by(SharedDraws(inner, prompt=prompt, sampling=SAMPLING, records=known), prompt, task, (0, 5))
    assert inner.asked == [(2, 3)]


async def test_a_draw_without_a_log_probability_is_made_again_where_that_is_read(
    task: Task, prompt: StepPrompt
) -> None:
    _, known = await drawn_by(Drawing(True), prompt, task, (0, 3))
    told = [{**known[0], "log_probability": -1.0}, *known[1:]]
    inner = Drawing(True)
    shared = SharedDraws(inner, prompt=prompt, sampling=SAMPLING, records=told, reads_log_probability=True)
    [drawn], _ = await drawn_by(shared, prompt, task, (0, 3))
    assert inner.asked == [(1, 2)]
    assert [candidate.log_probability for candidate in drawn] == [-1.0, None, None]
    assert [candidate.tokens_in for candidate in drawn] == [5, 0, 0]
