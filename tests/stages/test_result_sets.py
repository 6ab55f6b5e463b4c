"""Results are functions of the set of their tasks: neither order, smaller limits nor unused PRMs change them."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, read_metrics, strip_seconds
from in_process import collect_run, evaluate_run, evaluate_with_log, prepare_run, remove_seconds, scripted
from scripted_policy import scripted_server

from codetool.errors import CodeToolError
from codetool.model_types import Scores
from codetool.prm.random import RandomPRM
from codetool.stages.report import report

LOGS = ("log.txt", "provenance.json")
"""Files that note every command that worked on a folder."""
FILES = ("metrics.json", "report.html", "config.yaml", "results.jsonl", "trees.jsonl")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The outputs of a finished run of six tasks, to be copied, and its words."""
    outputs = tmp_path_factory.mktemp("finished")
    with scripted_server() as policy:
        words = (*scripted(policy), "search=greedy", "search.n=3", "limit=6")
        evaluate_run(outputs, *words)
        yield outputs, words


@pytest.fixture
def copy(finished: tuple[Path, tuple[str, ...]], tmp_path: Path) -> tuple[Path, Path, tuple[str, ...]]:
    """A copy of those outputs, the run folder in it, and the words."""
    outputs = Path(shutil.copytree(finished[0], tmp_path / "outputs"))
    [folder] = outputs.glob("evaluate/*")
    return outputs, folder, finished[1]


def shuffle(file: Path, seed: int) -> None:
    content = file.read_bytes().splitlines(keepends=True)
    random.Random(seed).shuffle(content)
    file.write_bytes(b"".join(content))


def report_of(folder: Path) -> bytes:
    """The report without the time at which it was written."""
    config, choices, console = prepare_run(folder.parent, "stage=report", f"report.folder={folder}")
    assert report(config, choices, console) == 0
    page = (folder / "report.html").read_bytes()
    [run] = re.findall(rb'id="run">.*', page)
    return page.replace(run, b"")


def test_the_order_of_completion_changes_no_byte(copy: tuple[Path, Path, tuple[str, ...]]) -> None:
    outputs, folder, words = copy
    evaluate_run(outputs, *words)
    before, page = (folder / "metrics.json").read_bytes(), report_of(folder)
    for seed in range(2):
        shuffle(folder / "results.jsonl", seed)
        shuffle(folder / "trees.jsonl", seed + 7)
        evaluate_run(outputs, *words)
        assert (folder / "metrics.json").read_bytes() == before
        assert report_of(folder) == page


def test_the_order_of_completion_changes_no_process_data(tmp_path: Path, policy: ChatServer) -> None:
    words = (*scripted(policy), "search.n=2", "search.depth=3", "limit=4", "collect.balance=true")
    assert collect_run(tmp_path, *words) == 0
    [folder] = tmp_path.glob("collect/*")
    names = ("process.jsonl", "transcripts.jsonl", "rollouts.jsonl", "summary.json", "summary.svg")
    before = [(folder / name).read_bytes() for name in names]
    for name in ("results", "trees"):
        shuffle(folder / f"{name}.jsonl", 1)
    assert collect_run(tmp_path, *words) == 0
    assert [(folder / name).read_bytes() for name in names] == before


def test_repeated_lines_change_no_metric(copy: tuple[Path, Path, tuple[str, ...]], caplog: Any) -> None:
    outputs, folder, words = copy
    before = read_metrics(folder)
    file = folder / "results.jsonl"
    first = file.read_bytes().splitlines(keepends=True)[0]
    file.write_bytes(first * 29 + file.read_bytes())
    report_of(folder)
    assert "29 lines repeat a task" in caplog.text
    assert len(evaluate_run(outputs, *words).tasks) == 6
    assert read_metrics(folder) == before and len(read_lines(folder, "results")) == 6


def checksums(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_a_smaller_limit_shows_its_numbers_and_leaves_the_files(
    copy: tuple[Path, Path, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs, folder, words = copy
    before = checksums(folder)
    outcome = evaluate_run(outputs, *words, "limit=2")
    assert outcome.metrics is not None and outcome.metrics["tasks"]["asked"] == 2 and outcome.folder == folder
    printed = capsys.readouterr().out
    assert "2 tasks asked for" in printed
    assert f"the files in {folder} are of the larger result, 6 tasks, and are left as they are" in printed
    assert checksums(folder) == before
    evaluate_run(outputs, *words, "limit=7")
    assert read_metrics(folder)["tasks"]["asked"] == 7


def test_a_smaller_limit_of_collect_leaves_the_files(tmp_path: Path, policy: ChatServer) -> None:
    words = (*scripted(policy), "search.n=2", "search.depth=2")
    assert collect_run(tmp_path, *words, "limit=4") == 0
    [folder] = tmp_path.glob("collect/*")
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in LOGS}
    assert collect_run(tmp_path, *words, "limit=2") == 0
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in LOGS} == before


def test_a_reward_without_the_latent_term_asks_no_prm(tmp_path: Path, policy: ChatServer) -> None:
    class Untouchable(RandomPRM):
        def checksum(self) -> None:
            raise AssertionError("asked")

        def open(self, servers: Any) -> Any:
            raise AssertionError("opened")

    words = [word for word in scripted(policy) if word != "prm=none"]
    words += ["search=greedy", "search.n=2", "limit=2"]
    for reward in ("reward.latent=0.0", "reward=without_latent"):
        outcome, told = evaluate_with_log(tmp_path, *words, "prm=random", reward, prm=Untouchable(seed=0))
        assert "reward.latent=0: prm=random is neither loaded nor asked" in told
        assert outcome.failed == 0
    alone, told = evaluate_with_log(tmp_path, *words, "prm=none", "reward=without_latent")
    assert alone.folder == outcome.folder and "neither" not in told
    assert {line["ledger"]["prm_tokens"] for line in read_lines(alone.folder, "results")} == {0}


class Caching(RandomPRM):
    """A PRM that computes a prompt only the first time it is asked."""

    seen: set[Any] = set()

    async def score(self, task: Any, path: Any, candidates: Any, executions: Any = ()) -> Scores:
        scores = await super().score(task, path, candidates, executions)
        chats = [(task.id, *(node.id for node in path), step.text) for step in candidates]
        computed = sum(chat not in self.seen for chat in chats)
        self.seen.update(chats)
        return replace(scores, tokens=10 * len(chats), computed=10 * computed)


def test_budgets_and_costs_count_what_the_prm_was_asked_not_what_a_cache_saved(
    tmp_path: Path, policy: ChatServer
) -> None:
    words = [*scripted(policy)[:-1], "prm=random", "search=beam", "search.n=3", "limit=3", "budget.prm_tokens=40"]
    first, second = (evaluate_run(tmp_path / name, *words, prm=Caching(seed=0)).folder for name in ("a", "b"))
    for name in ("results", "trees"):
        one, other = (strip_seconds(read_lines(folder, name)) for folder in (first, second))
        for line in [*one, *other]:
            for part in ("metrics", "ledger"):
                if part in line:
                    line[part].pop("prm_tokens_computed")
        assert one == other
    computed = [read_metrics(folder)["totals"]["prm_tokens_computed"] for folder in (first, second)]
    assert computed[0] == read_metrics(first)["totals"]["prm_tokens"] > 0 == computed[1]
    assert remove_seconds(read_metrics(first)["metrics"]["prm_tokens"]) == remove_seconds(
        read_metrics(second)["metrics"]["prm_tokens"]
    )


def test_a_run_that_cannot_start_leaves_its_log(tmp_path: Path, policy: ChatServer) -> None:
    words = (*scripted(policy), "limit=1")
    with pytest.raises(CodeToolError, match="cannot be reached"):
        evaluate_run(tmp_path, *words, "policy.base_url=http://127.0.0.1:9/v1")
    [folder] = tmp_path.glob("evaluate/*")
    assert "stopped: UnreachableError: http://127.0.0.1:9/v1 cannot be reached" in (folder / "log.txt").read_text()
    assert not list(folder.glob("*.jsonl"))
    assert evaluate_run(tmp_path, *words).folder == folder


def test_cells_of_a_sweep_share_draws_at_the_cost_of_each_alone(tmp_path: Path, policy: ChatServer) -> None:
    run = CommandLine(tmp_path / "outputs")
    words = (*scripted(policy)[:-1], "search=greedy", "search.n=3", "limit=3", "logger=none")
    done = run("-m", *words, "prm=none,random")
    assert done.returncode == 0, done.stderr
    shared = len(policy.requests)
    alone = CommandLine(tmp_path / "alone")
    for prm in ("none", "random"):
        assert alone(*words, f"prm={prm}").returncode == 0
        one, other = (each.folder(f"tmdb_verified-greedy-openai-{prm}") for each in (run, alone))
        assert one.name == other.name
        for name in ("results", "trees"):
            assert strip_seconds(read_lines(one, name)) == strip_seconds(read_lines(other, name))
        drawn = [sorted(map(str, read_lines(each, "candidates"))) for each in (one, other)]
        assert drawn[0] == drawn[1]
    assert shared < 0.7 * (len(policy.requests) - shared)
