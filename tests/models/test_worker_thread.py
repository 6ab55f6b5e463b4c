"""Threads that compute in one process share its cores."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from codetool.models import cpu_shares, worker_thread
from codetool.models.cpu_shares import CpuShares, OtherPrograms, count_available_cores
from codetool.models.worker_thread import WorkerThread


@dataclass
class Ask:
    """A job whose result is the number of CPU threads that its round has."""

    result: Future[Any] = field(default_factory=Future)


def started(threads: int | None = None, *, uses_idle_cores: bool = False) -> WorkerThread[Ask, int]:
    def work() -> None:
        while job := made.take_job():
            job.result.set_result(torch.get_num_threads())
        made.active = []

    made: WorkerThread[Ask, int] = WorkerThread(
        "ask", torch.get_num_threads, work, threads, uses_idle_cores=uses_idle_cores
    )
    return made


def ask(thread: WorkerThread[Ask, int]) -> int:
    job = Ask()
    thread.submit(job)
    return int(job.result.result(timeout=20))


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_shares, "count_available_cores", lambda: 4)
    monkeypatch.setattr(OtherPrograms, "measure_cores", lambda _: 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(worker_thread, "CPU_SHARES", CpuShares())


def test_a_policy_and_a_prm_share_the_cores_while_both_are_there(four_cores: None) -> None:
    policy = started()
    assert (policy.model, ask(policy)) == (1, 4)  # a model is loaded on one core
    prm = started()
    assert (ask(prm), ask(policy)) == (2, 2)
    prm.close()
    assert ask(policy) == 4
    policy.close()


def test_a_limit_is_kept_and_never_takes_the_cores_of_the_other(four_cores: None) -> None:
    policy, prm = started(1), started(3)
    assert (ask(policy), ask(prm)) == (1, 2)
    policy.close()
    prm.close()


def test_a_policy_uses_the_cores_of_a_prm_that_waits(four_cores: None) -> None:
    shares, started_prm, end_prm = CpuShares(), threading.Event(), threading.Event()

    def score() -> None:
        with shares.add_thread(), shares.compute() as threads:
            assert threads == 2
            started_prm.set()
            end_prm.wait(20)
        still_there.wait(20)

    still_there = threading.Event()
    with shares.add_thread(uses_idle_cores=True):
        with shares.compute() as threads:
            assert threads == 4
        prm = threading.Thread(target=score)
        prm.start()
        started_prm.wait(20)
        with shares.compute() as threads:
            assert threads == 2
        end_prm.set()
        still_there.set()
        prm.join()


def test_only_one_thread_has_a_pool_that_grows(four_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_shares, "count_available_cores", lambda: 2)
    policy, other = started(uses_idle_cores=True), started(uses_idle_cores=True)
    assert (ask(policy), ask(other)) == (2, 1)
    policy.close()
    other.close()


def test_a_model_that_cannot_be_loaded_leaves_its_share(four_cores: None) -> None:
    with pytest.raises(OSError, match="damaged"):
        WorkerThread("broken", lambda: (_ for _ in ()).throw(OSError("damaged")), lambda: None)
    policy = started()
    assert ask(policy) == 4
    policy.close()


def test_other_programs_leave_fewer_cores(four_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shares, found = CpuShares(), []
    with shares.add_thread(uses_idle_cores=True):
        for others in (0.0, 0.4, 1.2, 2.0, 3.0, 9.0):
            monkeypatch.setattr(OtherPrograms, "measure_cores", lambda _, others=others: others)
            with shares.compute() as threads:
                found.append(threads)
    assert found == [4, 4, 3, 2, 1, 1]


def test_what_other_programs_use_is_the_machines_work_without_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "busy": 0.0, "own": 0.0}
    monkeypatch.setattr(cpu_shares, "measure_load", lambda: 1.25)
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    monkeypatch.setattr(cpu_shares, "read_busy_seconds", lambda: clock["busy"])
    monkeypatch.setattr("time.process_time", lambda: clock["own"])
    others, found = OtherPrograms(), []
    for now, busy, own in ((10.0, 100.0, 5.0), (10.5, 0.0, 0.0), (12.0, 103.0, 6.5), (14.0, 104.0, 8.5)):
        clock.update(now=now, busy=busy, own=own)
        found.append(others.measure_cores())
    assert found == [1.25, 1.25, 0.75, 0.0]  # the second look is too soon; in the last one our own ticks run ahead


def test_the_load_of_a_machine_with_many_cores_is_no_reason_for_fewer(
    four_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(OtherPrograms, "measure_cores", lambda _: 40.0)
    shares = CpuShares()
    with shares.add_thread(), shares.compute() as threads:
        assert threads == 4


@pytest.mark.parametrize(
    ("value", "cores"), [("1", 1), ("1,2", 1), ("100000", None), ("0", None), ("x", None), ("", None)]
)
def test_joblibs_workers_have_their_share_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, value: str, cores: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert count_available_cores() == (cores or len(os.sched_getaffinity(0)))
    with CpuShares().compute() as threads:
        assert threads >= 1
