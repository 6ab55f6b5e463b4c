"""The hand-out of tasks to workers: each task counts once, whatever happens to workers."""

from __future__ import annotations

import random

import pytest

from codetool.stages.engine.hand_out import HandOut
from codetool.types import Task

TASKS = [Task(f"t{i}", "q", ()) for i in range(12)]


def take_all(hand_out: HandOut, worker: str, workers: int) -> list[tuple[str, int]]:
    taken = []
    while (attempt := hand_out.take(worker, workers)) is not None:
        taken.append((attempt.task.id, attempt.number))
    return taken


def test_tasks_are_shared_evenly_in_their_order() -> None:
    hand_out = HandOut(TASKS, per_worker=256)
    assert [name for name, _ in take_all(hand_out, "a", 3)] == ["t0", "t1", "t2", "t3"]
    assert [name for name, _ in take_all(hand_out, "b", 3)] == ["t4", "t5", "t6", "t7"]
    assert hand_out.unfinished == 12 and hand_out.under_way == 8


def test_a_worker_never_has_more_than_it_may() -> None:
    hand_out = HandOut(TASKS, per_worker=2)
    [(_, first), _] = take_all(hand_out, "a", 1)
    assert hand_out.finish("a", first) is not None and len(take_all(hand_out, "a", 1)) == 1


def test_an_attempt_that_was_lost_or_is_anothers_does_not_count() -> None:
    hand_out = HandOut(TASKS[:1], per_worker=1)
    [(_, lost)] = take_all(hand_out, "a", 1)
    assert hand_out.lose("a") == []
    [(name, current)] = take_all(hand_out, "b", 1)
    assert name == "t0" and current != lost
    assert hand_out.get("a", lost) is None and hand_out.finish("a", lost) is None  # it still arrives
    assert hand_out.finish("a", current) is None and hand_out.finish("b", current) is not None
    assert hand_out.finish("b", current) is None and hand_out.unfinished == 0


def test_lost_tasks_come_first_and_a_suspect_is_searched_alone() -> None:
    hand_out = HandOut(TASKS[:3], per_worker=2)
    for worker in ("a", "b"):
        assert [name for name, _ in take_all(hand_out, worker, 1)] == ["t0", "t1"]
        assert hand_out.lose(worker) == []
    [(alone, number)] = take_all(hand_out, "c", 1)  # not the third task, which no worker was lost with
    assert [name for name, _ in take_all(hand_out, "d", 1)] == ["t0" if alone == "t1" else "t1"]
    assert [task.id for task in hand_out.lose("d")] == ["t0" if alone == "t1" else "t1"]
    assert hand_out.finish("c", number) is not None
    assert [name for name, _ in take_all(hand_out, "c", 1)] == ["t2"]


def test_nothing_more_is_handed_out_once_the_budget_is_spent() -> None:
    hand_out = HandOut(TASKS, per_worker=1)
    [(_, number)] = take_all(hand_out, "a", 1)
    hand_out.drop_waiting()
    assert take_all(hand_out, "b", 1) == [] and hand_out.unfinished == 1
    hand_out.finish("a", number)
    assert hand_out.unfinished == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_losses_lose_no_task_and_repeat_none(seed: int) -> None:
    """Any order of hand-outs, late answers and losses ends with each task once: finished or given up."""
    draw, hand_out = random.Random(seed), HandOut(TASKS, per_worker=3)
    sent: list[tuple[str, str, int]] = []
    settled: list[str] = []
    worker_number = 3
    workers = [f"w{i}" for i in range(worker_number)]
    while hand_out.unfinished:
        event = draw.random()
        worker = draw.choice(workers)
        if event < 0.4:
            sent += [(worker, *taken) for taken in take_all(hand_out, worker, len(workers))]
        elif event < 0.85 and sent:  # an answer, also one of a lost worker
            owner, name, number = draw.choice(sent)
            settled += [attempt.task.id for attempt in [hand_out.finish(owner, number)] if attempt is not None]
        elif event > 0.95:
            settled += [task.id for task in hand_out.lose(worker)]
            worker_number += 1
            workers[workers.index(worker)] = f"w{worker_number}"
    assert sorted(settled) == sorted(task.id for task in TASKS)
