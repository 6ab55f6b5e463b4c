"""`policy=replay policy.source=[FOLDER]` with nothing else repeats the run, and says what does not go together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat, serve_in_process
from command_line import CommandLine, read_lines, read_metrics
from in_process import evaluate_run, evaluate_with_log, remove_seconds, scripted
from scripted_policy import scripted_server
from warm_process import run_warm

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.model_types import Scores
from codetool.prm.random import RandomPRM
from codetool.stages.evaluate import repeat


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with another prompt, search, PRM, seed, split and limit than the defaults; to be read only."""
    outputs = tmp_path_factory.mktemp("recorded")
    with scripted_server() as policy:
        words = [*scripted(policy)[:-1], "prm=random", "search=greedy", "search.n=3", "seed=3", "limit=4"]
        yield evaluate_run(outputs, *words, "policy_prompt@policy.prompt=compact", "policy.temperature=0.7").folder


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a stage in this process with these words as its command line."""

    def run(outputs: Path, *words: str) -> tuple[Any, str]:
        monkeypatch.setattr(repeat, "read_overrides", lambda: list(words))
        return evaluate_with_log(outputs, *words)

    return run


def timeless(folder: Path, name: str) -> list[Any]:
    return sorted((remove_seconds(line) for line in read_lines(folder, name)), key=lambda line: str(line["task_id"]))


def assert_repeats(folder: Path, source: Path) -> None:
    for name in ("results", "trees"):
        assert timeless(folder, name) == timeless(source, name)
    assert remove_seconds(read_metrics(folder)) == remove_seconds(read_metrics(source))
    drawn = [
        sorted(
            (line["task_id"], line["path"], line["key"], line["index"], line["text"]) for line in read_lines(each, name)
        )
        for each in (folder, source)
        for name in ("candidates",)
    ]
    assert drawn[0] == drawn[1]


def test_a_replay_with_nothing_else_repeats_the_run(named: Any, recorded: Path, tmp_path: Path) -> None:
    outcome, told = named(tmp_path, "policy=replay", f"policy.source=[{recorded}]")
    assert outcome.failed == 0
    assert f"policy=replay repeats {recorded}: prompt, sampling, seed, limit, benchmark" in told
    assert outcome.folder.name.startswith("tmdb_verified-greedy-replay-random-")
    assert_repeats(outcome.folder, recorded)
    again, _ = named(tmp_path / "again", "policy=replay", f"policy.source=[{outcome.folder}]")
    assert_repeats(again.folder, recorded)  # a replay can be replayed


def test_the_command_line_repeats_it_too(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(recorded.parent))
    run = CommandLine(tmp_path / "outputs")
    command = run.command("policy=replay", f"policy.source='~/{recorded.name}'", "logger=none")
    command.remove("prm=none")
    done = run_warm(command)
    assert done.returncode == 0, done.stderr
    assert_repeats(run.folder("tmdb_verified-greedy-replay-random"), recorded)


def test_scores_are_the_recorded_ones_where_the_same_prm_gave_them(
    named: Any, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's last digits depend on what it reads at the same time; those of a repetition must not."""
    real = RandomPRM.score

    async def noisy(self: RandomPRM, *arguments: Any) -> Scores:
        scores = await real(self, *arguments)
        return Scores(tuple(value * 0.999 for value in scores.values))

    monkeypatch.setattr(RandomPRM, "score", noisy)
    outcome, _ = named(tmp_path, "policy=replay", f"policy.source=[{recorded}]")
    assert_repeats(outcome.folder, recorded)
    other, _ = named(tmp_path, "policy=replay", f"policy.source=[{recorded}]", "prm=random", "prm.seed=9", "limit=1")
    assert timeless(other.folder, "trees") != timeless(recorded, "trees")[:1]


def test_what_the_command_line_names_counts(named: Any, recorded: Path, tmp_path: Path) -> None:
    outcome, _ = named(tmp_path, "policy=replay", f"policy.source=[{recorded}]", "search.n=2", "prm=none", "limit=1")
    assert outcome.failed == 0 and len(outcome.tasks) == 1
    config = (outcome.folder / "config.yaml").read_text()
    assert "n: 2" in config and "Greedy" in config
    wider, _ = named(tmp_path, "policy=replay", f"policy.source=[{recorded}]", "search.n=5", "limit=1")
    assert wider.failed == 1
    [line] = read_lines(wider.folder, "results")
    assert "the recorded search was narrower" in line["error"]["message"]


def copied(source: Path, place: Path, change: dict[str, str]) -> Path:
    folder = Path(shutil.copytree(source, place / source.name))
    for old, new in change.items():
        found = 0
        for name in ("config.yaml", "provenance.json"):
            text = (folder / name).read_text()
            found += old in text or f'"{old.split(":")[0]}":{old.partition(":")[2]}' in text
            text = text.replace(old, new)
            quoted = [f'"{each.split(":")[0]}":{each.partition(":")[2]}' for each in (old, new)]
            (folder / name).write_text(text.replace(*quoted))
        assert found
    return folder


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("policy.source=[nowhere]",), MissingError, r"there is no folder nowhere \(from /"),
        (("policy.source=[{tmp}]",), ConfigError, "is no run folder: it needs config.yaml and candidates.jsonl"),
        (("policy.source=[{source}]", "benchmark.split=test"), ConfigError, "recorded on another benchmark or split"),
        (("policy.source=[{source}]", "repeats=3"), ConfigError, "repeats=3: .* candidates of 1 search of each task"),
        (("policy.source=[{source},{seed}]",), ConfigError, "mixes runs .*: seed is 4 there, 3 in the first"),
        (("policy.source=[{source},{prompt}]",), ConfigError, "mixes runs .*policy.temperature is 0.2 there"),
        (("policy.source=[{source},{search}]",), ConfigError, "search differs between .* Name it: search="),
        (("policy.source=[{prm}]",), ConfigError, "was scored by another PRM"),
        (("policy.source=[{foreign}]",), ConfigError, "names os.system, which is no part of CodeTool"),
        (("policy.source=[]",), ConfigError, "policy.source is empty"),
    ],
)
def test_sources_that_cannot_be_repeated_are_told_in_one_message(
    named: Any, recorded: Path, tmp_path: Path, words: tuple[str, ...], error: type[CodeToolError], message: str
) -> None:
    changes = {
        "seed": {"seed: 3": "seed: 4"},
        "prompt": {"temperature: 0.7": "temperature: 0.2"},
        "search": {"n: 3": "n: 2"},
        "prm": {'"checksums": {': '"checksums": {"prm": "12ab",'},
        "foreign": {"codetool.prm.random.RandomPRM": "os.system"},
    }
    places = {"source": recorded, "tmp": tmp_path}
    for name, change in changes.items():
        if f"{{{name}}}" in "".join(words):
            places[name] = copied(recorded, tmp_path / name, change)
    with pytest.raises(error, match=message):
        named(tmp_path / "outputs", "policy=replay", *(word.format(**places) for word in words))
    assert not list(tmp_path.glob("outputs/evaluate/*/*.jsonl"))


def test_one_source_needs_no_list(named: Any, recorded: Path, tmp_path: Path) -> None:
    outcome, _ = named(tmp_path, "policy=replay", f"policy.source={recorded}", "limit=1")
    assert outcome.failed == 0


def test_a_file_of_candidates_is_replayed_as_configured(named: Any, recorded: Path, tmp_path: Path) -> None:
    file = recorded / "candidates.jsonl"
    words = ("policy_prompt@policy.prompt=compact", "benchmark.split=dev", "search=greedy", "search.n=3", "prm=random")
    outcome, told = named(tmp_path, "policy=replay", f"policy.source=[{file}]", *words, "seed=3", "limit=4")
    assert "repeats" not in told
    assert timeless(outcome.folder, "results") == timeless(recorded, "results")


def test_recorded_answers_of_a_summariser_are_replayed_without_it(
    named: Any, tmp_path: Path, policy: ChatServer
) -> None:
    words = (*scripted(policy), "search=chain", "limit=1", "answer=openai", "answer.model=m")
    with serve_in_process(lambda body: chat("It was Ada Moon.")) as summariser:
        first = evaluate_run(tmp_path / "a", *words, f"answer.base_url={summariser.url}").folder
        assert len(summariser.requests) == 1
    asked = len(policy.requests)
    outcome, _ = named(tmp_path / "b", "policy=replay", f"policy.source=[{first}]")
    assert outcome.failed == 0 and len(policy.requests) == asked
    assert timeless(outcome.folder, "results") == timeless(first, "results")
    assert json.loads((outcome.folder / "metrics.json").read_text())["tasks"]["failures"] == []
