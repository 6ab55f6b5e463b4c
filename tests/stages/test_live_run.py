"""`tools.mode=live` as a whole run: a service that demands a key, answers recorded, and replayed without the key."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from chat_server import ChatServer, Reply, chat
from command_line import CommandLine, read_lines
from rich.console import Console

from codetool.benchmarks.openapi import parse_tools
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.run_folder import open_folder
from codetool.tmdb.openapi_document import build_document
from codetool.tools.secrets import Secret
from codetool.types import Answer, Task, Tool

KEY = "planted/secret+0123456789"
BEARER = Secret(env="TMDB_API_KEY", header="Authorization", query=None, format="Bearer {key}")
STEPS = (
    """import os, requests
found = requests.get("{server}/search/movie", params={{"query": "Titanic"}}, headers=headers)
movie = found.json()["results"][0]
print(movie["title"], dict(found.request.headers), found.request.url, dict(found.headers), dict(os.environ))""",
    """print(requests.get(f"{server}/movie/{{movie['id']}}", headers=headers).json()["runtime"])""",
)


@dataclass
class Live:
    """The service, the model, and a run between them."""

    server: str
    policy: ChatServer
    recording: Path

    def run(self, folder: Path, *words: str) -> list[dict[str, Any]]:
        """The lines of `results.jsonl`."""
        config = self.config(*words)
        with open_folder(folder) as opened:
            evaluate(config, opened, [self.task()], Console(stderr=True))
        return read_lines(folder, "results")

    def config(self, *words: str) -> RunConfig:
        endpoint = ("policy=openai", "policy.model=m", f"policy.base_url={self.policy.url}", "search=chain")
        [composed] = compose_all([*endpoint, f"tools.record_to={self.recording}", "tools.replica=null", *words])
        config = validate(composed)
        return replace(config, tools=replace(config.tools, secrets={urlsplit(self.server).netloc: BEARER}))

    def task(self) -> Task:
        offered = tuple(replace(tool, server=self.server) for tool in load_tools())
        preamble = 'headers = {"accept": "application/json"}\n'
        return Task(
            id="t", query="How long is Titanic?", tools=offered, answer=Answer("number", 194), preamble=preamble
        )


@cache
def load_tools() -> tuple[Tool, ...]:
    """The tools of the replica's own document."""
    return tuple(parse_tools(build_document()))


@contextmanager
def service(run: CommandLine) -> Iterator[str]:
    """The address of a served replica that wants the key."""
    words = ("stage=serve_tools", "serve_tools.port=0", "serve_tools.require_key=true")
    process = run.start(*words, environment=os.environ | {"TMDB_API_KEY": KEY})
    try:
        yield process.first_line().split()[0] + "3"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def live(run: CommandLine, policy: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setenv("TMDB_API_KEY", KEY)
    with service(run) as server:

        def write(body: dict[str, Any]) -> Reply:
            k = sum(message["role"] == "assistant" for message in body["messages"])
            end = "[All Finished]\n" if k else ""
            return chat(f"##Step {k + 1}: go on\nPython Code:\n```python\n{STEPS[k].format(server=server)}\n```\n{end}")

        policy.handler = write
        yield Live(server, policy, tmp_path / "recorded.jsonl")


def calls(folder: Path) -> list[dict[str, Any]]:
    nodes = [node for tree in read_lines(folder, "trees") for node in tree["nodes"]]
    return [call for node in nodes for call in node["execution"]["calls"]]


def provenances(folder: Path) -> list[str]:
    return [call["provenance"] for call in calls(folder)]


def test_a_live_run_is_answered_and_its_key_stands_nowhere(
    live: Live, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    [result] = live.run(tmp_path / "live", "tools.mode=live")
    assert result["success"] is True and result["answer"] == "194"
    assert provenances(tmp_path / "live") == ["live", "live"]
    files = [file.read_text() for file in (*(tmp_path / "live").iterdir(), live.recording)]
    written = [*files, json.dumps(live.policy.requests), caplog.text, *capfd.readouterr()]
    assert any("Titanic" in text for text in written)
    for text in written:
        assert not [form for form in (KEY, quote(KEY), quote(KEY, safe=""), KEY.replace("/", "\\/")) if form in text]


@pytest.mark.parametrize("mode", ["offline", "strict", "live"])
def test_what_was_recorded_is_replayed_and_not_asked_for_again(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    live.run(tmp_path / "live", "tools.mode=live")
    asked = live.recording.read_bytes()
    monkeypatch.setenv("TMDB_API_KEY", "" if mode != "live" else "another-key")
    words = () if mode == "live" else (f"tools.recordings=[{live.recording}]",)
    [result] = live.run(tmp_path / mode / "again", f"tools.mode={mode}", *words)
    assert result["success"] is True
    assert provenances(tmp_path / mode / "again") == ["recorded", "recorded"]
    assert live.recording.read_bytes() == asked


def test_a_wrong_key_is_the_services_answer_and_is_not_recorded(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMDB_API_KEY", "not-the-right-one")
    [result] = live.run(tmp_path / "live", "tools.mode=live")
    assert result["success"] is False and live.recording.read_bytes() == b""
    assert {call["http_status"] for call in calls(tmp_path / "live")} == {401}


def test_a_live_run_without_a_key_stops_before_anything(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMDB_API_KEY", raising=False)
    done = run("tools.mode=live", "policy=openai", "policy.model=m", "policy.base_url=http://127.0.0.1:9/v1")
    assert done.returncode == 2 and "TMDB_API_KEY (for api.themoviedb.org)" in done.stderr
    assert not list(run.outputs.glob("evaluate/*/*.jsonl"))
