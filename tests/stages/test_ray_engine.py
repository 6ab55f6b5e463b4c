"""engine=ray on a cluster of several nodes on this machine: equal to engine=local, whatever is killed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, strip_seconds
from ray_nodes import ENVIRONMENT, RayNodes, start_nodes
from scripted_policy import scripted_server
from warm_process import WarmProcess

pytestmark = pytest.mark.slow
TASKS = 8


@pytest.fixture(scope="module")
def policy() -> Iterator[ChatServer]:
    with scripted_server(latency=0.3) as server:
        yield server


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with start_nodes(2) as started:
        yield started


def words(policy: ChatServer) -> tuple[str, ...]:
    endpoint = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}")
    return (*endpoint, "benchmark.split=dev", f"limit={TASKS}", "search.n=2", "logger=none")


def start(run: CommandLine, policy: ChatServer, nodes: RayNodes) -> WarmProcess:
    engine = ("engine=ray", f"engine.address={nodes.address}", "engine.tasks_per_worker=2")
    return run.start(*words(policy), *engine, environment=os.environ | ENVIRONMENT)


def wait_for_results(run: CommandLine, process: WarmProcess, count: int = 1) -> None:
    """Until the command has finished so many tasks."""
    while process.poll() is None:
        if sum(file.read_bytes().count(b"\n") for file in run.outputs.glob("*/*/results.jsonl")) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"it ended before it was disturbed:\n{process.communicate()[1]}")


@pytest.fixture(scope="module")
def local(policy: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = CommandLine(tmp_path_factory.mktemp("local"))
    assert run(*words(policy)).returncode == 0
    return run.folder("tmdb_verified")


def check(run: CommandLine, process: WarmProcess, local: Path) -> str:
    """That the command ends with the result of engine=local; what it printed."""
    err = process.communicate(200)[1]
    assert process.returncode == 0, err
    folder = run.folder("tmdb_verified")
    assert folder.name == local.name
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(folder, name)) == strip_seconds(read_lines(local, name))
    drawn = [(line["task_id"], line["key"], line["index"]) for line in read_lines(folder, "candidates")]
    assert len(set(drawn)) == len(drawn) == len(read_lines(local, "candidates"))
    return err


def test_a_killed_command_goes_on_and_leaves_no_worker(
    run: CommandLine, policy: ChatServer, nodes: RayNodes, local: Path
) -> None:
    process = start(run, policy, nodes)
    wait_for_results(run, process)
    process.kill()
    process.communicate()
    assert nodes.wait_until_idle(20) == []
    check(run, start(run, policy, nodes), local)


def test_a_removed_node_and_a_killed_worker_lose_no_task(
    run: CommandLine, policy: ChatServer, nodes: RayNodes, local: Path
) -> None:
    process = start(run, policy, nodes)
    wait_for_results(run, process)
    assert len(nodes.list_workers()) == 2  # one on each node that has a CPU
    nodes.remove()
    wait_for_results(run, process, 2)
    [worker] = nodes.list_workers()
    worker.kill()
    err = check(run, process, local)
    assert err.count("was lost") >= 2  # Ray may put a worker on the removed node once more, before it knows
    assert "Traceback" not in err and "(raylet" not in err
    assert nodes.wait_until_idle(10) == []  # the user's cluster goes on, without anything of the run
