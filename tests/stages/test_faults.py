"""Whole runs with a proxy before each service that spoils answers: a bad network changes no number."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import Exchange
from fault_stack import FaultStack, find_differences, open_stack

from codetool.errors import UnreachableError
from codetool.evaluation.error_taxonomy import is_internal

SEARCHES = {
    "beam": ("search=beam", "search.n=2", "search.depth=3"),
    "chain": ("search=chain", "search.depth=3"),
    "best_of_n": ("search=best_of_n", "search.depth=3"),
    "dfs": ("search=dfs", "search.depth=3"),
    "exhaustive": ("search=exhaustive", "search.depth=3"),
    "greedy": ("search=greedy", "search.n=2", "search.depth=3"),
}
BROKEN_TASK = "film-003"


@pytest.fixture(scope="module")
def stack() -> Iterator[FaultStack]:
    with open_stack(seed=3) as opened:
        yield opened


def assert_faults_change_nothing(stack: FaultStack, folder: Path, service: str, tasks: int) -> float:
    """Returns how many times as long the run with faults takes."""
    stack.reset({})
    clean = stack.run(folder / "clean", service, tasks)
    stack.reset(dict.fromkeys(stack.proxies, 0.2))
    faulty = stack.run(folder / "faulty", service, tasks)
    assert find_differences(clean, faulty) == []
    assert not faulty.outcome.failed
    counted, injected = faulty.metrics["faults"], {}
    for name, proxy in stack.proxies.items():
        group = "prm" if name.startswith("prm") else name
        injected[group] = injected.get(group, 0) + proxy.injected.total()
    # On a busy machine, honest answers may be late too.
    assert all(sum(counted[name]["kinds"].values()) >= count for name, count in injected.items() if count)
    [line] = [line for line in faulty.printed.splitlines() if line.startswith("faults of services: ")]
    assert all(f"{name} {sum(counts['kinds'].values())} (" in line for name, counts in counted.items())
    return faulty.seconds / clean.seconds


@pytest.mark.parametrize("service", ["all", "prm_endpoint", "simulator"])
def test_a_fifth_of_all_requests_fails_and_nothing_changes(stack: FaultStack, tmp_path: Path, service: str) -> None:
    assert_faults_change_nothing(stack, tmp_path, service, 6 if service == "all" else 4)


@pytest.mark.slow
@pytest.mark.parametrize("service", ["all", "simulator"])
def test_two_hundred_tasks_with_faults_take_at_most_twice_the_time(
    stack: FaultStack, tmp_path: Path, service: str
) -> None:
    assert assert_faults_change_nothing(stack, tmp_path, service, 200) < 2


def break_task(exchange: Exchange) -> str | None:
    """The fault of all requests that concern one task."""
    text = exchange.target + exchange.body.decode()
    marks = ("film 003", "/3/movie/3/", "/3/movie/1003/", "003 0", "003 1")
    return "status_503" if any(mark in text for mark in marks) else None


@pytest.mark.parametrize(
    "service",
    ["tools", *(pytest.param(name, marks=pytest.mark.slow) for name in ("policy", "prm", "answer", "simulator"))],
)
def test_a_route_that_never_recovers_costs_the_tasks_that_need_it_and_after_repair_none(
    stack: FaultStack, tmp_path: Path, service: str
) -> None:
    stack.reset({})
    clean = stack.run(tmp_path / "clean", service, 5)
    few = ("tools.retries=1", "policy.retries=1", "prm.retries=1")
    few += (f"{service}.retries=1",) if service in {"answer", "simulator"} else ()
    stack.proxies[service].is_broken = break_task
    try:
        broken = stack.run(tmp_path / "broken", service, 5, few)
    finally:
        stack.proxies[service].is_broken = lambda exchange: None
    assert broken.outcome.failed == 1
    assert f"  {BROKEN_TASK}: UnreachableError: " in broken.printed
    assert broken.metrics["faults"][service]["given_up"] >= 1
    failed = {line["task_id"]: is_internal(line) for line in broken.read("results.jsonl")}
    assert failed == {f"film-{i:03}": i == 3 for i in range(5)}
    assert all(line["task_id"] != BROKEN_TASK for line in broken.read("trees.jsonl"))
    repaired = stack.run(tmp_path / "broken", service, 5, few)
    assert repaired.outcome.folder == broken.outcome.folder and not repaired.outcome.failed
    differences = find_differences(clean, repaired)
    assert set(differences) <= {"metrics.json: tools", "trees.jsonl"}  # which count every start, and say `recorded`
    assert json.dumps(repaired.read("trees.jsonl")).replace('"recorded"', '"live"').replace(
        '"simulated"', '"live"'
    ) == json.dumps(clean.read("trees.jsonl")).replace('"simulated"', '"live"')


def test_votes_without_an_answer_are_named_and_the_others_are_kept(stack: FaultStack, tmp_path: Path) -> None:
    stack.reset({})
    clean = stack.run(tmp_path / "clean", "judge", 4)
    stack.proxies["judge"].is_broken = break_task
    try:
        with pytest.raises(UnreachableError, match=r"2 of 8 votes had no answer, those of film-003; .*503"):
            stack.run(tmp_path / "broken", "judge", 4, ("judge.retries=1",))
    finally:
        stack.proxies["judge"].is_broken = lambda exchange: None
    asked = stack.proxies["judge"].requests
    repaired = stack.run(tmp_path / "broken", "judge", 4, ("judge.retries=1",))
    assert find_differences(clean, repaired) == []
    assert stack.proxies["judge"].requests == asked + 3  # the list of models and the two votes


@pytest.mark.parametrize(
    "search", ["beam", *(pytest.param(name, marks=pytest.mark.slow) for name in SEARCHES if name != "beam")]
)
def test_a_run_killed_between_the_candidates_of_a_draw_ends_as_if_it_had_not_been(
    stack: FaultStack, tmp_path: Path, search: str
) -> None:
    stack.reset({})
    clean = stack.run(tmp_path / "clean", "policy", 2, search=SEARCHES[search])
    lines = (clean.outcome.folder / "candidates.jsonl").read_bytes().splitlines(keepends=True)
    for kept in {1, len(lines) // 2, len(lines) - 1}:
        outputs = tmp_path / f"killed{kept}"
        shutil.copytree(tmp_path / "clean", outputs)
        folder = outputs / clean.outcome.folder.relative_to(tmp_path / "clean")
        for name in ("results.jsonl", "trees.jsonl", "metrics.json", "tools.jsonl"):
            (folder / name).unlink()
        (outputs / "recorded.jsonl").unlink()
        (folder / "candidates.jsonl").write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
        assert find_differences(clean, stack.run(outputs, "policy", 2, search=SEARCHES[search])) == []
