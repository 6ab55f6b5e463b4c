"""`python run.py benchmark=tmdb search=beam prm=qwen7b`, with a scripted policy and a small random Qwen2 as PRM."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from chat_server import Reply, chat, serving
from command_line import CommandLine, lines, metrics

from codetool.stages.summary import untrained


@pytest.fixture
def benchmark() -> str:
    """RestBench where its data are, else our own tasks."""
    if (Path(os.environ.get("CODETOOL_DATA", "nowhere")) / "restbench").is_dir():
        return "tmdb"
    if os.environ.get("CI"):
        pytest.fail("CODETOOL_DATA holds no restbench")
    return "tmdb_verified"


def two_ways(body: dict[str, Any]) -> Reply:
    """Two programs for every step; the second step ends the path."""
    k = sum(message["role"] == "assistant" for message in body["messages"]) + 1
    end = "[All Finished]\n" if k == 2 else ""
    texts = [f"##Step {k}: {way}\nPython Code:\n```python\nprint({way!r})\n```\n{end}" for way in ("look", "guess")]
    return chat(*texts[: body.get("n", 1)])


async def test_the_missions_sentence(run: CommandLine, tmp_path: Path, benchmark: str) -> None:
    tiny_models.save("qwen2", tmp_path / "prm")
    words = [f"benchmark={benchmark}", "search=beam", "search.width=2", "search.n=2", "limit=3", "prm=qwen7b"]
    words += [f"prm.path={tmp_path / 'prm'}", "prm.precision=float32", "logger=none", "policy=openai"]
    async with serving(two_ways) as server:
        done = await asyncio.to_thread(run, *words, "policy.model=x", f"policy.base_url={server.url}")
    assert done.returncode == 0, done.stderr
    assert "untrained" not in done.stdout
    folder = run.folder(f"{benchmark}-beam-openai-qwen7b")
    nodes = [node for tree in lines(folder, "trees") for node in tree["nodes"] if node["parent"] is not None]
    latents = [node["latent"] for node in nodes]
    assert len(latents) == 3 * (2 + 4)
    assert all(0 < latent < 1 for latent in latents) and len(set(latents)) > 9
    assert metrics(folder)["metrics"]["prm_tokens"]["value"] > 0


async def test_an_untrained_prm_is_named_so_in_the_summary(run: CommandLine, tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "prm")
    words = ["benchmark=tmdb_verified", "search=greedy", "limit=1", "prm=llama8b", f"prm.model={tmp_path / 'prm'}"]
    async with serving(two_ways) as server:
        words += ["logger=none", "policy=openai", "policy.model=x", f"policy.base_url={server.url}"]
        done = await asyncio.to_thread(run, *words)
    assert done.returncode == 0, done.stderr
    assert "The PRM is untrained: prm.path is null" in done.stdout


@pytest.mark.parametrize(
    ("prm", "said"),
    [
        ({"path": None, "base_url": None}, True),
        ({"path": "adapter", "base_url": None}, False),
        ({"path": None, "base_url": "http://somewhere/v1"}, False),  # who knows what runs there
        ({"seed": 0}, False),
        ({"_target_": "codetool.prm.none.NoPRM", "path": None}, False),
    ],
)
def test_only_a_model_that_the_run_itself_took_untrained_is_called_so(prm: dict[str, Any], said: bool) -> None:
    assert bool(list(untrained({"prm": prm}))) == said
