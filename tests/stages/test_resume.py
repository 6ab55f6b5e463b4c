"""A run that is killed again and again ends as if nothing had happened."""

from __future__ import annotations

import random
import time

from chat_server import ChatServer
from command_line import CommandLine, lines, timeless

KILLS = 20
SPLIT = ("benchmark.split=dev", "limit=24")
WORDS = ("policy=openai", "policy.model=m", *SPLIT, "search.n=3")


def test_twenty_kills_lose_no_task_and_repeat_none(run: CommandLine, slow_policy: ChatServer) -> None:
    words = (*WORDS, f"policy.base_url={slow_policy.url}")
    moments = random.Random(0)
    for _ in range(KILLS):
        process = run.start(*words, "concurrency=2")
        time.sleep(moments.uniform(0.3, 2.5))
        assert process.poll() is None, "the run ended before it could be killed: give it more to do"
        process.kill()
        process.communicate()
    finished = run(*words)
    assert finished.returncode == 0, finished.stderr
    killed = run.folder("tmdb_verified-beam-openai")
    results = lines(killed, "results")
    assert len({line["task_id"] for line in results}) == len(results) == 24
    assert [line["task_id"] for line in lines(killed, "trees")] == [line["task_id"] for line in results]

    drawn = [(line["task_id"], line["key"], line["index"]) for line in lines(killed, "candidates")]
    assert len(set(drawn)) == len(drawn)  # nothing was paid for twice

    replay = run("policy=replay", f"policy.source=[{killed}]", *SPLIT, "search.n=3")
    assert replay.returncode == 0, replay.stderr
    repeated = run.folder("tmdb_verified-beam-replay")
    for name in ("results", "trees"):
        assert timeless(lines(repeated, name)) == timeless(lines(killed, name))
