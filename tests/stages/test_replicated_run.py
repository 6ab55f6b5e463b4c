"""Whole runs on several servers of a model: their number, their failures and their return change no result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_proxy import Exchange, FaultProxy, run_proxies
from fault_stack import FaultRun, FaultStack, find_differences, open_stack

TASKS = 8
SERVICES = ("policy", "prm")
Servers = dict[str, list[FaultProxy]]


@pytest.fixture(scope="module")
def stack() -> Iterator[FaultStack]:
    with open_stack() as opened:
        yield opened


@pytest.fixture(scope="module")
def servers(stack: FaultStack) -> Iterator[Servers]:
    """Three servers of the policy and three of the PRM."""
    upstream = stack.proxies["policy"].upstream
    opened = {service: [FaultProxy(upstream, rate=0.0) for _ in range(3)] for service in SERVICES}
    with run_proxies(*opened["policy"], *opened["prm"]):
        yield opened


@pytest.fixture(scope="module")
def single(stack: FaultStack, tmp_path_factory: pytest.TempPathFactory) -> FaultRun:
    """A run with one server of each model."""
    return stack.run(tmp_path_factory.mktemp("single"), "policy", TASKS)


def run_on(servers: Servers, stack: FaultStack, outputs: Path) -> FaultRun:
    policy = ",".join(f"{server.url}/v1" for server in servers["policy"])
    prm = ",".join(server.url for server in servers["prm"])
    lists = (f"policy.base_url=[{policy}]", f"prm.base_url=[{prm}]", "policy.retries=1", "prm.retries=1")
    return stack.run(outputs, "policy", TASKS, lists)


def break_for_good_after(count: int) -> Callable[[Exchange], str | None]:
    """Let a server die once it has answered some requests for a step or a score."""
    answered = 0

    def find_fault(exchange: Exchange) -> str | None:
        nonlocal answered
        answered += exchange.method == "POST"
        return "reset" if answered > count else None

    return find_fault


def test_two_of_three_servers_of_each_model_die_in_the_middle_and_no_result_changes(
    stack: FaultStack, servers: Servers, single: FaultRun, tmp_path: Path
) -> None:
    for service in SERVICES:
        for server, count in zip(servers[service], (1, 2, 10**6), strict=True):
            server.is_broken = break_for_good_after(count)
    several = run_on(servers, stack, tmp_path)
    assert find_differences(single, several) == []  # with the candidates and trees, which a replay reads
    assert not several.outcome.failed
    assert single.outcome.folder.name == several.outcome.folder.name  # they are one result
    for service in SERVICES:
        counted = several.metrics["faults"].get(service, {"kinds": {}})
        injected = sum(server.injected.total() for server in servers[service])
        # A probe of a server that was left is no fault of the run.
        assert 0 < sum(counted["kinds"].values()) <= injected and "given_up" not in counted


@pytest.mark.slow
def test_without_any_server_tasks_fail_and_the_same_command_resumes(
    stack: FaultStack, servers: Servers, single: FaultRun, tmp_path: Path
) -> None:
    for server in servers["policy"]:
        server.is_broken = break_for_good_after(2)
    for server in servers["prm"]:
        server.is_broken = lambda exchange: None
    broken = run_on(servers, stack, tmp_path)
    assert broken.outcome.failed and "None of the 3 servers of policy.base_url answers" in broken.printed
    assert broken.metrics["faults"]["policy"]["given_up"] >= 1
    for server in servers["policy"]:
        server.is_broken = lambda exchange: None
    resumed = run_on(servers, stack, tmp_path)
    assert not resumed.outcome.failed
    assert {"results.jsonl", "candidates.jsonl"}.isdisjoint(find_differences(single, resumed))
