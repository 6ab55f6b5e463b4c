"""Threads that compute in one process share its cores."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from codetool.models import worker_thread
from codetool.models.worker_thread import CpuShares, WorkerThread, count_available_cores


@dataclass
class Ask:
    """A job whose result is the number of CPU threads that its round has."""

    result: Future[Any] = field(default_factory=Future)


def started(threads: int | None = None) -> WorkerThread[Ask, int]:
    def work() -> None:
        while job := made.take_job():
            job.result.set_result(torch.get_num_threads())
        made.active = []

    made: WorkerThread[Ask, int] = WorkerThread("ask", torch.get_num_threads, work, threads)
    return made


def ask(thread: WorkerThread[Ask, int]) -> int:
    job = Ask()
    thread.submit(job)
    return int(job.result.result(timeout=20))


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_thread, "count_available_cores", lambda: 4)
    monkeypatch.setattr(worker_thread, "measure_load", lambda: 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(worker_thread, "CPU_SHARES", CpuShares())


def test_a_policy_and_a_prm_share_the_cores_while_both_are_there(four_cores: None) -> None:
    policy = started()
    assert (policy.model, ask(policy)) == (4, 4)
    prm = started()
    assert (prm.model, ask(prm), ask(policy)) == (2, 2, 2)
    prm.close()
    assert ask(policy) == 4
    policy.close()


def test_a_number_that_is_asked_for_stands_and_the_other_takes_its_share(four_cores: None) -> None:
    policy, prm = started(3), started()
    assert (ask(policy), ask(prm)) == (3, 2)
    policy.close()
    prm.close()


def test_a_model_that_cannot_be_loaded_leaves_its_share(four_cores: None) -> None:
    with pytest.raises(OSError, match="damaged"):
        WorkerThread("broken", lambda: (_ for _ in ()).throw(OSError("damaged")), lambda: None)
    policy = started()
    assert ask(policy) == 4
    policy.close()


def test_other_programs_leave_fewer_cores(four_cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load counts the worker's own threads too: 4 at first, then those of its last share."""
    shares = CpuShares()
    monkeypatch.setattr(worker_thread, "LOAD_SECONDS", 0.0)
    shares.add_thread()
    found = []
    for load in (0.0, 4.2, 6.0, 4.0, 9.0, 9.0, 2.0, 1.2, 4.0):
        monkeypatch.setattr(worker_thread, "measure_load", lambda load=load: load)
        found.append(shares.compute_share())
    assert found == [4, 4, 2, 2, 1, 1, 3, 4, 4]


def test_the_load_of_a_machine_with_many_cores_is_no_reason_for_fewer(
    four_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(worker_thread, "measure_load", lambda: 40.0)
    shares = CpuShares()
    shares.add_thread()
    assert shares.compute_share() == 4


@pytest.mark.parametrize(
    ("value", "cores"), [("1", 1), ("1,2", 1), ("100000", None), ("0", None), ("x", None), ("", None)]
)
def test_joblibs_workers_have_their_share_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, value: str, cores: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert count_available_cores() == (cores or len(os.sched_getaffinity(0)))
    assert CpuShares().compute_share() >= 1
