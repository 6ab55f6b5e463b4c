"""Workers that are lost, gone, broken or slow, without Ray: every task is committed once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from worker_stand_ins import Commits, FakeWorker

from codetool.stages.engine import reports, worker_pool
from codetool.stages.engine.engine import RunJob
from codetool.stages.engine.fixed_servers import FixedServers
from codetool.stages.engine.task_worker import WorkerOrder
from codetool.stages.engine.worker_pool import WorkerFailedError, WorkerPool, open_pool
from codetool.stages.evaluate.components import SearchJob
from codetool.types import Task

TASKS = [Task(f"t{i}", "q", ()) for i in range(8)]
IDS = sorted(task.id for task in TASKS)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(worker_pool, "STOP_SECONDS", 0.05)


def run(
    prepare: Callable[[FakeWorker], None] = lambda worker: None,
    *,
    workers: int = 2,
    per_worker: int = 2,
    find_stop: Callable[[], str | None] = lambda: None,
    known: Sequence[Any] = (),
) -> tuple[Commits, list[FakeWorker], WorkerPool]:
    """What was committed, the workers that were created, and the pool; `prepare` changes each new worker."""
    commits, created = Commits(), list[FakeWorker]()

    def create() -> FakeWorker:
        created.append(FakeWorker(len(created)))
        prepare(created[-1])
        return created[-1]

    config = cast(Any, SimpleNamespace(benchmark=SimpleNamespace()))
    search = SearchJob(config, TASKS)
    job = RunJob(search, TASKS, known, cast(Any, commits), find_stop)

    async def search_all() -> WorkerPool:
        order = WorkerOrder(search, FixedServers({}), 1, "/")
        async with open_pool(job, order, create, workers, per_worker) as pool:
            await pool.run()
        return pool

    pool = asyncio.run(asyncio.wait_for(search_all(), 20))
    return commits, created, pool


def test_every_task_is_committed_once_by_workers_that_share_them() -> None:
    commits, workers, pool = run()
    assert sorted(commits.ids) == IDS and commits.started == len(TASKS)
    assert {record.result["by"] for record in commits.records} == {0, 1}
    assert max(worker.most_at_once for worker in workers) <= 2
    assert pool.in_force == {"seccomp": "on"} and pool.count_answers().recorded == 3
    assert all(worker.killed for worker in workers)  # an actor that was not killed would stay on the user's cluster


def test_a_lost_worker_is_replaced_and_its_draws_are_not_made_again() -> None:
    """The first worker ends when it holds two tasks, of which one draw each had arrived."""

    def prepare(worker: FakeWorker) -> None:
        if worker.number == 0:
            answer = worker.assign

            def withhold(task: Task, attempt: int, known: Sequence[Any]) -> None:
                answer(task, attempt, known)
                worker.reports = [each for each in worker.reports if not isinstance(each, reports.Finished)]

            worker.assign = withhold  # type: ignore[method-assign]
            worker.loses = lambda each: len(each.assigned) == 2 and not each.reports

    commits, workers, _ = run(prepare)
    assert sorted(commits.ids) == IDS and len(workers) == 3 and commits.started == len(TASKS)
    drawn = [record["task_id"] for record in commits.candidates]
    assert sorted(drawn) == IDS  # the second attempt got the first one's
    again = [(name, known) for worker in workers[1:] for name, _, known in worker.assigned if known]
    assert sorted(name for name, _ in again) == ["t0", "t1"]


def test_what_a_removed_node_still_answers_is_dropped() -> None:
    def prepare(worker: FakeWorker) -> None:
        if worker.number == 0:
            answer = worker.fetch

            async def fetch() -> list[reports.Report]:
                answers = await answer()
                worker.removed = any(isinstance(each, reports.Finished) for each in answers)
                return answers  # although its node is gone by now

            worker.fetch = fetch  # type: ignore[method-assign]

    commits, workers, _ = run(prepare)
    assert sorted(commits.ids) == IDS
    assert workers[0].assigned and not any(record.result["by"] == 0 for record in commits.records)


def test_a_task_that_ends_its_workers_fails_and_the_others_do_not() -> None:
    def prepare(worker: FakeWorker) -> None:
        worker.loses = lambda each: any(name == "t3" for name, *_ in each.assigned)

    commits, workers, _ = run(prepare, workers=2, per_worker=4)
    assert sorted(commits.ids) == IDS
    [failed] = [record.result for record in commits.records if record.result.get("error")]
    assert failed["task_id"] == "t3" and failed["error"]["kind"] == "internal"  # type: ignore[index, call-overload]
    assert "its worker ended 3 times" in failed["error"]["message"]  # type: ignore[index, call-overload, operator]
    assert sum(name == "t3" for worker in workers for name, *_ in worker.assigned) == 3


def test_a_run_without_any_worker_raises_why() -> None:
    def prepare(worker: FakeWorker) -> None:
        worker.starts = reports.Failed("there is no key in OPENAI_API_KEY", 2)

    with pytest.raises(WorkerFailedError, match="no key in OPENAI_API_KEY") as raised:
        run(prepare)
    assert raised.value.exit_code == 2


def test_a_run_goes_on_without_a_worker_that_cannot_start(caplog: pytest.LogCaptureFixture) -> None:
    def prepare(worker: FakeWorker) -> None:
        if worker.number == 0:
            worker.starts = reports.Failed("there is no folder /models/qwen", 2)

    commits, *_ = run(prepare)
    assert sorted(commits.ids) == IDS
    assert [line for line in caplog.messages if "goes on without a worker" in line and "/models/qwen" in line]


def test_workers_that_end_while_they_start_are_not_started_for_ever() -> None:
    def prepare(worker: FakeWorker) -> None:
        worker.loses = lambda each: True

    with pytest.raises(WorkerFailedError, match="3 workers on node . ended while they started"):
        run(prepare, workers=1)


def test_no_task_begins_once_the_budget_is_spent() -> None:
    spent = list[str]()

    def prepare(worker: FakeWorker) -> None:
        answer = worker.assign

        def assign(task: Task, attempt: int, known: Sequence[Any]) -> None:
            spent.append(task.id)
            answer(task, attempt, known)
            worker.reports.append(reports.Spent({"policy": {"tokens_in": 1}}))

        worker.assign = assign  # type: ignore[method-assign]

    commits, workers, _ = run(prepare, find_stop=lambda: "run_budget.tokens" if len(spent) >= 2 else None)
    assert 2 <= len(commits.ids) < len(TASKS) and sorted(set(commits.ids)) == sorted(commits.ids)
    assert all(worker.limit == "run_budget.tokens" for worker in workers if not worker.assigned or worker.limit)
    assert commits.spent


def test_recorded_candidates_are_given_to_the_task() -> None:
    known = {"task_id": "t5", "index": 0}
    commits, workers, _ = run(known=[known])
    assert [given for worker in workers for name, _, given in worker.assigned if name == "t5"] == [(known,)]
    assert "t5" not in {record["task_id"] for record in commits.candidates}
