"""The simulator of runs against times that can be computed by hand."""

from dataclasses import replace

import pytest
from run_model import ModelServer, Node, NodeRun, Workload, predict_run
from simulation import BatchServer, Simulation

WORK = Workload(candidates=(2, 1, 1), tool_calls=(1, 1, 0), drawn=2, tokens=0)
NODE = Node(
    concurrency=1,
    sandboxes=100,
    cores=1,
    policy=ModelServer(latency=1.0),
    prm=ModelServer(latency=0.15),
    tool_latency=0.2,
    host_seconds=0.0,
)
TASK = 3 * 1.0 + 2 * 0.2 + 0.15  # in the last step no tool is called, so that the PRM takes longest


def predict(tasks: int, work: Workload = WORK, **changes: object) -> float:
    return predict_run(replace(NODE, **changes), work, tasks, 0).seconds


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_the_tasks(workers: int) -> None:
    assert predict(8, concurrency=workers) == pytest.approx(8 / workers * TASK)


def test_the_scarcest_part_decides() -> None:
    assert predict(8, concurrency=8, policy=ModelServer(latency=1.0, concurrency=1)) == pytest.approx(24 + 0.15)
    assert predict(100, concurrency=100, tool_calls_per_second=1.0) == pytest.approx(300 + 1.15, abs=2)
    assert predict(100, concurrency=100, host_seconds=0.5) == pytest.approx(150, rel=0.03)
    calls_only = replace(WORK, candidates=(2,), tool_calls=(10,))
    assert predict(4, calls_only, concurrency=4, sandboxes=1) == pytest.approx(1 + 8 * 10 * 0.2)


def test_sequences_of_a_batch_slow_each_other_down() -> None:
    simulation = Simulation()
    server, ends = BatchServer(simulation, 0.1, 0.05), []
    server.generate(10, 1).call_back(lambda: ends.append(simulation.now))
    simulation.schedule(0.75, lambda: server.generate(10, 2).call_back(lambda: ends.append(simulation.now)))
    simulation.run()
    # A token takes 0.15 s alone, so that 5 are left after 0.75 s, then 0.25 s, and 0.2 s after the first request.
    assert ends == pytest.approx([0.75 + 5 * 0.25, 2.0 + 5 * 0.2])


def test_further_tasks_come_at_the_rate_of_the_simulated_ones() -> None:
    full = NodeRun(replace(NODE, concurrency=4), WORK, 0).predict(4000)
    cut = predict_run(replace(NODE, concurrency=4), WORK, 4000, 0, simulated=400)
    assert cut.seconds == pytest.approx(full.seconds, rel=0.01)


def test_latencies_have_the_mean_of_the_scenario() -> None:
    spread = ModelServer(latency=1.0, latency_spread=0.5)
    work = replace(WORK, candidates=(0,), tool_calls=(0,))
    assert predict(2000, work, policy=spread) == pytest.approx(2000, rel=0.05)
