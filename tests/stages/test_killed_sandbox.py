"""Kills of the sandbox and of single branches from outside, while a run goes on, change no result."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import suppress

import psutil
import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, read_metrics, strip_seconds
from warm_process import WarmProcess

from codetool.errors import ConfigError
from codetool.runs.provenance import read_sandbox_events

WORDS = ("policy=openai", "policy.model=m", "benchmark.split=dev", "limit=24", "search.n=3", "concurrency=4")
TASKS_BETWEEN_KILLS = 4
"""Tasks that end between two kills of the whole sandbox: a step that three of them hit fails, as MAX_ATTEMPTS says."""


def kill_until_it_ends(process: WarmProcess, run: CommandLine, victims: str, most: int) -> int:
    """Kill processes of the run's sandbox, of which the first three are its own and the others branches."""
    chance, killed, wanted = random.Random(0), 0, 0
    while process.poll() is None and killed < most:
        time.sleep(0.15)
        if count_results(run) < wanted:
            continue
        try:
            [first] = psutil.Process(process.pid).children()
            sandbox = [first, *first.children(recursive=True)]
        except (psutil.Error, ValueError):
            continue
        chosen = sandbox[:3] if victims == "sandbox" else sandbox[3:]
        if len(sandbox) > 4 and chosen:
            chance.choice(chosen).kill()
            killed += 1
            wanted = count_results(run) + TASKS_BETWEEN_KILLS if victims == "sandbox" else 0
    return killed


def count_results(run: CommandLine) -> int:
    """How many tasks of the run that was begun last have a result."""
    folders = sorted((run.outputs / "evaluate").glob("*"))
    file = folders[-1] / "results.jsonl" if folders else None
    return file.read_bytes().count(b"\n") if file is not None and file.is_file() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("victims", "most"), [("sandbox", 3), ("branches", 30)])
def test_kills_from_outside_change_no_result(run: CommandLine, policy: ChatServer, victims: str, most: int) -> None:
    words = (*WORDS, f"policy.base_url={policy.url}")
    assert run(*words).returncode == 0
    process = run.start(*words, "fresh=true")
    killed = kill_until_it_ends(process, run, victims, most)
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    first, second = sorted((run.outputs / "evaluate").iterdir())
    assert killed
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(second, name)) == strip_seconds(read_lines(first, name))
    metrics = read_metrics(second)
    assert metrics["internal"] == {}
    assert metrics["errors"] == read_metrics(first)["errors"]
    if victims == "sandbox":
        assert 1 <= metrics["sandbox"]["restarts"] <= killed
        assert "times it died and was started again" in printed
    assert "sandbox" not in read_metrics(first)


@pytest.mark.slow
def test_a_killed_run_keeps_what_happened_to_its_sandbox(run: CommandLine, policy: ChatServer) -> None:
    words = (*WORDS, f"policy.base_url={policy.url}")
    process = run.start(*words)
    kill_until_it_ends(process, run, "sandbox", 1)
    deadline = time.monotonic() + 60
    while not (events := read_events(run)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert events and process.poll() is None
    process.kill()
    process.communicate()
    assert run(*words).returncode == 0
    [folder] = (run.outputs / "evaluate").iterdir()
    assert read_metrics(folder)["sandbox"].items() >= events.items()


def read_events(run: CommandLine) -> Mapping[str, int]:
    """What the run has recorded so far of its sandbox."""
    with suppress(ValueError, ConfigError):
        [folder] = (run.outputs / "evaluate").iterdir()
        return read_sandbox_events(folder)
    return {}
