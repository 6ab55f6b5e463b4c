"""Shards of a run: its tasks divided among processes over one folder, and merged into the files of an unsharded run."""

from __future__ import annotations

import errno
import fcntl
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, read_metrics, strip_seconds
from in_process import collect_run, evaluate_run, evaluate_with_log, prepare_run, remove_seconds, scripted
from scripted_policy import scripted_server

from codetool.errors import ConfigError
from codetool.runs.claim import hold_claim
from codetool.runs.shard import Shard
from codetool.stages.load_stages import run_stage
from codetool.stages.run_overrides import check_chain
from codetool.stages.shards.run_shards import make_part_config
from codetool.sweeps.sweep import run_sweep

SMALL = ("limit=4", "search.n=2", "search.width=1", "search.depth=2")


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture(scope="module")
def whole(server: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unsharded run."""
    return evaluate_run(tmp_path_factory.mktemp("whole"), *scripted(server), *SMALL).folder


@pytest.fixture
def replay(whole: Path) -> tuple[str, ...]:
    return ("policy=replay", f"policy.source=[{whole}]", "prm=none", *SMALL)


def read_comparable(folder: Path) -> dict[str, Any]:
    """What a run of the same tasks must equal, whoever ran which of them."""
    tools = [{key: value for key, value in line.items() if key != "part"} for line in read_lines(folder, "tools")]
    lines = {name: strip_seconds(read_lines(folder, name)) for name in ("results", "trees", "candidates")}
    metrics = remove_seconds(read_metrics(folder))
    [code] = metrics["code"]
    return {**lines, "tools": strip_seconds(tools), "metrics": metrics, "results of the code": code["results"]}


def get_run(shard: Path) -> Path:
    return shard.parents[1]


def test_shards_make_what_one_run_makes(whole: Path, replay: tuple[str, ...], tmp_path: Path) -> None:
    outcomes = [evaluate_run(tmp_path, *replay, f"shard={index}/2") for index in (2, 1)]
    merged = outcomes[-1].folder
    assert [outcome.folder.name for outcome in outcomes] == ["2-of-2", merged.name]
    alone = evaluate_run(tmp_path / "alone", *replay).folder
    assert merged.name == alone.name  # a shard changes no identity
    assert read_comparable(merged) == read_comparable(alone)
    assert [line["task_id"] for line in read_lines(merged, "results")] == list(outcomes[-1].tasks)
    assert (merged / "report.html").is_file() and "shard: null" in (merged / "config.yaml").read_text()
    spent = read_metrics(merged)["spent"]["run"]["seconds"]
    assert evaluate_run(tmp_path, *replay).folder == merged
    assert read_comparable(merged) == read_comparable(alone)  # a second merge counts nothing twice
    assert read_metrics(merged)["spent"]["run"]["seconds"] == spent


def test_what_runs_already_is_refused(replay: tuple[str, ...], tmp_path: Path) -> None:
    run = get_run(evaluate_run(tmp_path, *replay, "shard=1/2").folder)
    with hold_claim(run / "shards" / "2-of-2", str):
        with pytest.raises(ConfigError, match="shard=2/2: another process runs this shard .process [0-9]+ on "):
            evaluate_run(tmp_path, *replay, "shard=2/2")
        with pytest.raises(ConfigError, match="shard=1/3: shard=2/2 of this run is running .*in another way"):
            evaluate_run(tmp_path, *replay, "shard=1/3")
        with pytest.raises(ConfigError, match="shard=2/2 of this run is running .*stage=report report.folder="):
            evaluate_run(tmp_path, *replay)
        config, choices, console = prepare_run(tmp_path, "stage=report", f"report.folder={run}")
        assert run_stage(config, choices, console) == 0  # what is there is merged
    done = read_lines(run / "shards" / "1-of-2", "results")
    assert len(done) < 4 and strip_seconds(read_lines(run, "results")) == strip_seconds(done)
    metrics = read_metrics(run)["tasks"]
    assert metrics["asked"] == 4 and metrics["missing"] == 4 - len(done)
    with hold_claim(run / "shards" / "merge", str), pytest.raises(ConfigError, match="are being merged"):
        run_stage(config, choices, console)


@pytest.mark.slow
def test_nothing_is_done_twice_by_another_number_of_shards_or_none(server: ChatServer, tmp_path: Path) -> None:
    words = (*scripted(server), *SMALL)
    first = evaluate_run(tmp_path, *words, "shard=1/2").folder
    done, asked = {line["task_id"] for line in read_lines(first, "results")}, len(server.requests)
    second = evaluate_run(tmp_path, *words, "shard=2/3").folder
    assert not done & {line["task_id"] for line in read_lines(second, "results")}
    merged = evaluate_run(tmp_path, *words).folder
    drawn = [(line["task_id"], line["key"], line["index"]) for line in read_lines(merged, "candidates")]
    assert len(set(drawn)) == len(drawn) and len(read_lines(merged, "results")) == 4
    assert asked < len(server.requests)
    asked = len(server.requests)
    assert evaluate_run(tmp_path, *words, "shard=2/2").folder == merged
    assert len(server.requests) == asked


@pytest.mark.slow
def test_shards_need_no_locks(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    words = (*scripted(server), *SMALL, "limit=3")
    evaluate_run(tmp_path, *words, "shard=1/2")
    merged = evaluate_run(tmp_path, *words, "shard=2/2").folder
    assert len(read_lines(merged, "results")) == 3 and "this file system has no locks" in caplog.text


@pytest.mark.slow
def test_a_shard_without_tasks_is_done_at_once(server: ChatServer, tmp_path: Path) -> None:
    words = (*scripted(server), *SMALL, "limit=1")
    outcomes = [evaluate_with_log(tmp_path, *words, f"shard={index}/3") for index in (1, 2, 3)]
    assert sum("0 of 1 tasks" in printed for _, printed in outcomes) == 2
    assert "shard 1/3 is done. Not done yet: 2 of 3 (2/3, 3/3); the last merges" in outcomes[0][1]
    assert len(read_lines(outcomes[-1][0].folder, "results")) == 1


@pytest.mark.slow
def test_shards_collect_what_one_run_collects(server: ChatServer, tmp_path: Path) -> None:
    words = (*scripted(server), "search=exhaustive", "limit=3", "search.n=2", "search.depth=1")
    for where, shards in (("shards", ("shard=1/2", "shard=2/2")), ("alone", ("shard=null",))):
        for shard in shards:
            assert collect_run(tmp_path / where, *words, shard) == 0
    merged, alone = (next((tmp_path / where).glob("collect/*")) for where in ("shards", "alone"))
    assert read_lines(merged, "process") == read_lines(alone, "process") != []
    assert not list(merged.glob("shards/*/process.jsonl"))


class Tracker:
    """A logger that keeps the descriptions of its runs."""

    def __init__(self) -> None:
        self.runs: list[Any] = []

    def start(self, run: Any) -> Tracker:
        self.runs.append(run)
        return self

    def log(self, values: Any, step: int) -> None: ...

    def finish(self, content: Any) -> None: ...

    def stop(self, exit_code: int) -> None: ...


@pytest.mark.slow
def test_each_shard_is_a_logged_run_of_one_group(server: ChatServer, tmp_path: Path) -> None:
    tracker = Tracker()
    for index in (1, 2):
        words = (*scripted(server), *SMALL, "limit=2", f"shard={index}/2")
        outcome = evaluate_run(tmp_path, *words, logger={"mine": tracker})
    *shards, merged = tracker.runs
    assert {run.group for run in shards} == {merged.folder.name} == {outcome.folder.name}
    assert all("shard=" in run.name and f"shard={run.folder.name.replace('-of-', '/')}" in run.tags for run in shards)
    assert merged.group is None and "shard" not in merged.name  # as an unsharded run


def test_a_shard_has_its_share_of_the_budget_and_a_file_of_its_own_for_answers(tmp_path: Path) -> None:
    recorded = tmp_path / "outputs" / "recorded.jsonl"
    words = ("policy=replay", "prm=none", "run_budget.tokens=1000", "run_budget.seconds=30", "run_budget.usd=1")
    words += ("shard=1/4", "tools.mode=live")
    config, _, _ = prepare_run(tmp_path / "outputs", *words)
    part = make_part_config(config, Shard(1, 4), tmp_path)
    budget = part.run_budget
    assert (budget.tokens, budget.seconds, budget.usd) == (250, 7.5, 0.25)
    assert part.tools.record_to == tmp_path / "recorded.jsonl" and part.tools.recordings == ()
    recorded.parent.mkdir()
    recorded.touch()
    assert make_part_config(config, Shard(1, 4), tmp_path).tools.recordings == (recorded,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("shard=0/4",), "shard='0/4': the shards are numbered from 1 to 4"),
        (("shard=3",), "shard=3: write INDEX/COUNT"),
        (("shard=1/2", "fresh=true"), "shard=1/2 fresh=true: each shard would start a folder of its own"),
    ],
)
def test_bad_settings_are_refused(replay: tuple[str, ...], tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_run(tmp_path, *replay, *words)
    with suppress(FileNotFoundError):
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("seed=0,1", "shard=1/2"), ("shard=1/2,2/2",)])
def test_a_sweep_has_no_shards(replay: tuple[str, ...], tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="shard=1/2: leave it out with -m"):
        run_sweep([f"outputs={tmp_path}", *replay, *words])


def test_a_chain_has_no_shards() -> None:
    with pytest.raises(ConfigError, match="stage=collect: shard=1/2: the stages of a chain go on from whole results"):
        check_chain(["stage=[collect,evaluate_prm]", "shard=1/2", "prm=smollm2"], [])


@pytest.mark.slow
def test_shards_that_are_killed_and_stopped_lose_no_task_and_repeat_none(whole: Path, tmp_path: Path) -> None:
    run, moments = CommandLine(tmp_path / "outputs"), random.Random(0)
    with scripted_server(latency=0.2) as policy:
        words = (*scripted(policy), *SMALL, "concurrency=1", "logger=none")
        processes = [run.start(*words, f"shard={index}/2") for index in (1, 2)]
        until = time.monotonic() + 60
        while not all(count_candidates(run.outputs, f"{index}-of-2") for index in (1, 2)):
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.2))
        processes[0].kill()
        processes[1].send_signal(signal.SIGINT)
        ends = [(*process.communicate(60), process.returncode) for process in processes]
        assert [code for *_, code in ends] == [-signal.SIGKILL, 130] and ends[1][1].endswith("continues.\n")
        processes = [run.start(*words, f"shard={index}/2") for index in (2, 1)]  # at the same time
        ends = [(*process.communicate(100), process.returncode) for process in processes]
    assert [code for *_, code in ends] == [0, 0], ends
    merged = run.folder("tmdb_verified-beam-openai")
    for name in ("results", "trees", "candidates"):
        assert strip_seconds(read_lines(merged, name)) == strip_seconds(read_lines(whole, name))


def count_candidates(outputs: Path, shard: str) -> int:
    return sum(file.read_bytes().count(b"\n") for file in outputs.glob(f"evaluate/*/shards/{shard}/candidates.jsonl"))
