"""A run that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, strip_seconds
from scripted_policy import scripted_server
from warm_process import WarmProcess

SPLIT = ("benchmark.split=dev", "limit=24")
WORDS = ("policy=openai", "policy.model=m", *SPLIT, "search.n=3")
SECONDS = 0.3
"""A kill falls at most so long after the run has written something new: anywhere between two steps or in one."""


@pytest.fixture
def policy(kills: int) -> Iterator[ChatServer]:
    """So slow that the run does not end before its last kill."""
    with scripted_server(latency=0.02 * max(kills, 5)) as server:
        yield server


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_lose_no_task_and_repeat_none(run: CommandLine, policy: ChatServer, kills: int) -> None:
    words = (*WORDS, f"policy.base_url={policy.url}")
    moments = random.Random(0)
    killed_while_running = 0
    for _ in range(kills):
        process = run.start(*words, "concurrency=2")
        wait_for_progress(run.outputs, process)
        time.sleep(moments.uniform(0, SECONDS))
        killed_while_running += process.poll() is None
        process.kill()
        process.communicate()
    assert killed_while_running >= 1, "each run ended before it could be killed: give it more to do"
    finished = run(*words)
    assert finished.returncode == 0, finished.stderr
    killed = run.folder("tmdb_verified-beam-openai")
    results = read_lines(killed, "results")
    assert len({line["task_id"] for line in results}) == len(results) == 24
    assert [line["task_id"] for line in read_lines(killed, "trees")] == [line["task_id"] for line in results]

    drawn = [(line["task_id"], line["key"], line["index"]) for line in read_lines(killed, "candidates")]
    assert len(set(drawn)) == len(drawn)  # nothing was paid for twice

    replay = run("policy=replay", f"policy.source=[{killed}]", *SPLIT, "search.n=3")
    assert replay.returncode == 0, replay.stderr
    repeated = run.folder("tmdb_verified-beam-replay")
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(repeated, name)) == strip_seconds(read_lines(killed, name))


def wait_for_progress(outputs: Path, process: WarmProcess) -> None:
    """Until the run has recorded candidates that were not there when it started."""
    before = recorded(outputs)
    while recorded(outputs) == before and process.poll() is None:
        time.sleep(0.005)


def recorded(outputs: Path) -> int:
    """Bytes of the candidates in the run's folder."""
    return sum(file.stat().st_size for file in outputs.glob("evaluate/*/candidates.jsonl"))
