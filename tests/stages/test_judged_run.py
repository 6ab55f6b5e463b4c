"""`python run.py benchmark=tmdb search=beam prm=qwen7b` to its report, with a small random Qwen2 as the 7B model."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

import pytest
import restbench_stand_in
import tiny_models
from chat_server import Reply, chat, serve_chat
from command_line import CommandLine, read_lines, read_metrics
from report_data import data

from codetool.stages.evaluate.summary_display import describe_untrained_prm

TASKS = 2
SENTENCE = "benchmark=tmdb search=beam prm=qwen7b"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A download cache of the hub with one revision of Qwen2.5-7B-Instruct in it."""
    cache = tmp_path_factory.mktemp("hub")
    tiny_models.save("qwen2", cache / "models--Qwen--Qwen2.5-7B-Instruct" / "snapshots" / "0f1e2d3c", context=32768)
    return cache


@pytest.fixture
def _machine(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with stand-ins for RestBench's files and with a download of the 7B model."""
    restbench_stand_in.write(tmp_path / "data", TASKS)
    monkeypatch.setenv("CODETOOL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))


def two_ways(body: dict[str, Any]) -> Reply:
    """Two programs for every step; the second step ends the path."""
    k = sum(message["role"] == "assistant" for message in body["messages"]) + 1
    end = "[All Finished]\n" if k == 2 else ""
    texts = [f"##Step {k}: {way}\nPython Code:\n```python\nprint({way!r})\n```\n{end}" for way in ("look", "guess")]
    return chat(*texts[: body.get("n", 1)])


@pytest.mark.usefixtures("_machine")
def test_the_missions_sentence(run: CommandLine) -> None:
    """As it is typed: SmolLM2 writes the steps, the 7B model judges them."""
    done = run(*shlex.split(SENTENCE))
    assert done.returncode == 0, done.stderr
    folder = run.folder("tmdb-beam-smollm2-qwen7b")
    assert check_run(folder) == done.stdout.splitlines()[-1].removeprefix("report: ")
    # The trained policy reaches the replica; a run in which no call is made would measure nothing.
    assert read_metrics(folder)["metrics"]["tool_calls"]["value"] > 0


@pytest.mark.usefixtures("_machine")
def test_one_model_as_policy_and_prm(run: CommandLine) -> None:
    """Random weights write no program; each task still ends in a judged tree, a result and the report."""
    policy = ("policy=qwen7b", "policy.backend=transformers", "policy.max_tokens=16", "search.depth=2")
    done = run(*shlex.split(SENTENCE), *policy)
    assert done.returncode == 0, done.stderr
    check_run(run.folder("tmdb-beam-qwen7b-qwen7b"))
    assert f"no_code {TASKS}" in done.stdout


def check_run(folder: Path) -> str:
    """The address of the report of a finished run of the stand-in's tasks, in which every step has a latent."""
    trees, results = read_lines(folder, "trees"), read_lines(folder, "results")
    assert sorted(line["task_id"] for line in results) == [f"q{place}" for place in range(TASKS)]
    steps = [node for tree in trees for node in tree["nodes"] if node["parent"] is not None]
    assert len(steps) >= 3 and all(0 < node["latent"] < 1 for node in steps)
    measured = read_metrics(folder)
    assert measured["tasks"]["asked"] == TASKS and measured["metrics"]["prm_tokens"]["value"] > 0
    held = data((folder / "report.html").read_text(encoding="utf-8"))
    assert {row["task_id"] for row in held["lines"]} == {f"q{place}" for place in range(TASKS)}
    return (folder / "report.html").as_uri()


async def test_every_candidate_has_a_latent_of_its_own(run: CommandLine, tmp_path: Path) -> None:
    """Two steps of two candidates for each path kept: the PRM tells them apart."""
    tiny_models.save("qwen2", tmp_path / "prm")
    words = ["benchmark=tmdb_verified", "search=beam", "search.width=2", "search.n=2", "limit=3", "prm=qwen7b"]
    words += [f"prm.path={tmp_path / 'prm'}", "prm.precision=float32", "logger=none", "policy=openai"]
    async with serve_chat(two_ways) as server:
        done = await asyncio.to_thread(run, *words, "policy.model=x", f"policy.base_url={server.url}")
    assert done.returncode == 0, done.stderr
    assert "untrained" not in done.stdout
    folder = run.folder("tmdb_verified-beam-openai-qwen7b")
    nodes = [node for tree in read_lines(folder, "trees") for node in tree["nodes"] if node["parent"] is not None]
    latents = [node["latent"] for node in nodes]
    assert len(latents) == 3 * (2 + 4)
    assert all(0 < latent < 1 for latent in latents) and len(set(latents)) > 9
    assert read_metrics(folder)["metrics"]["prm_tokens"]["value"] > 0


async def test_an_untrained_prm_is_named_so_in_the_summary(run: CommandLine, tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "prm")
    words = ["benchmark=tmdb_verified", "search=greedy", "limit=1", "prm=llama8b", f"prm.model={tmp_path / 'prm'}"]
    async with serve_chat(two_ways) as server:
        words += ["logger=none", "policy=openai", "policy.model=x", f"policy.base_url={server.url}"]
        done = await asyncio.to_thread(run, *words)
    assert done.returncode == 0, done.stderr
    assert "The PRM is untrained: prm.path is null" in done.stdout


@pytest.mark.parametrize(
    ("prm", "said"),
    [
        ({"model": "m", "path": None, "base_url": None}, True),
        ({"model": "m", "path": "adapter", "base_url": None}, False),
        ({"model": "m", "path": None, "base_url": "http://somewhere/v1"}, False),  # who knows what runs there
        ({"seed": 0}, False),
        ({"_target_": "codetool.prm.none.NoPRM", "path": None}, False),
    ],
)
def test_only_a_model_that_the_run_itself_took_untrained_is_called_so(prm: dict[str, Any], said: bool) -> None:
    assert bool(list(describe_untrained_prm({"prm": prm}))) == said
