"""Whole runs against a service whose state changes, and whose faults are not the program's."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, chat
from command_line import read_lines
from playlist_service import PlaylistService, playlist_service
from rich.console import Console

from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.evaluate.summary_display import describe_unreachable
from codetool.stages.evaluate.tool_counts import read_counts
from codetool.stages.run_folder import open_folder
from codetool.types import Answer, Task

WRITING = """import requests
print(requests.post("{server}/me/playlists", json={{"name": "a"}}).json()["id"])
print(requests.post("{server}/me/player/next").json())
print(requests.get("{server}/me/playlists").json())"""
READING = 'import requests\nprint(len(requests.get("{server}/faulty/page").json()["tracks"]))'


@pytest.fixture
def service() -> Iterator[PlaylistService]:
    with playlist_service() as running:
        yield running


def configured(policy: ChatServer, file: Path, code: str, *words: str) -> RunConfig:
    policy.handler = lambda body: chat(f"##Step 1: go on\nPython Code:\n```python\n{code}\n```\n[All Finished]\n")
    asked = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "prm=none")
    settings = ("tools.replica=null", f"tools.record_to={file}", "tools.backoff=0.01")
    [composed] = compose_all([*asked, *settings, *words])
    return validate(composed)


def run(config: RunConfig, folder: Path, service: PlaylistService) -> dict[str, Any]:
    """The line of the one task, with the calls of its tree."""
    task = Task("t", "How many?", service.tools(), answer=Answer("number", 3))
    with open_folder(folder) as opened:
        evaluate(config, opened, [task], Console(stderr=True))
    return read_lines(folder, "results")[-1]


def calls(folder: Path) -> list[tuple[str, str]]:
    nodes = [node for tree in read_lines(folder, "trees") for node in tree["nodes"]]
    return [(call["method"], call["provenance"]) for node in nodes for call in node["execution"]["calls"]]


def test_a_second_run_writes_again_and_a_replay_does_not(
    service: PlaylistService, policy: ChatServer, tmp_path: Path
) -> None:
    file, code = tmp_path / "r.jsonl", WRITING.format(server=service.server)
    words = ("search=beam", "search.width=1", "search.n=2", "search.depth=1")
    for number, mode in enumerate(("live", "live", "strict")):
        recordings = (f"tools.recordings=[{file}]",) if mode == "strict" else ()
        run(configured(policy, file, code, f"tools.mode={mode}", *words, *recordings), tmp_path / str(number), service)
    written = [("POST", "/me/playlists"), ("POST", "/me/player/next")]
    assert service.writes() == written * 2
    assert calls(tmp_path / "1") == [("POST", "live"), ("POST", "live"), ("GET", "live")]
    assert calls(tmp_path / "2") == [("POST", "recorded"), ("POST", "recorded"), ("GET", "recorded")]
    observed = [read_lines(tmp_path / name, "trees")[0]["nodes"][0]["execution"]["observation"] for name in ("1", "2")]
    assert observed[0] == observed[1] and "'position': 2" in observed[0]


def test_a_task_whose_tools_stay_unreachable_is_internal_and_tried_again(
    service: PlaylistService, policy: ChatServer, tmp_path: Path
) -> None:
    code = READING.format(server=service.server)
    config = configured(policy, tmp_path / "r.jsonl", code, "tools.mode=live", "search=chain", "tools.retries=1")
    service.faults["page"] = 2
    line = run(config, tmp_path / "run", service)
    assert line["error"]["kind"] == "internal"
    assert "1 of 1 tool calls had no answer" in line["error"]["message"] and "HTML" in line["error"]["message"]
    assert read_counts(tmp_path / "run")["failures"] == {"unreachable": 1}
    assert any("1 of 1 tool calls" in text for text in describe_unreachable(tmp_path / "run"))
    assert run(config, tmp_path / "run", service)["success"] is True
    counts = read_counts(tmp_path / "run")
    assert (counts["calls"], counts["provenance"], counts["failures"]) == (2, {"live": 1}, {"unreachable": 1})
    assert len(json.loads(json.dumps(counts))) == 4


@pytest.mark.parametrize("mode", ["offline", "strict"])
def test_where_most_calls_miss_the_mode_that_would_answer_is_named(
    service: PlaylistService, policy: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    config = configured(
        policy, tmp_path / "r", READING.format(server=service.server), f"tools.mode={mode}", "search=chain"
    )
    with caplog.at_level(logging.WARNING):
        run(config, tmp_path / "run", service)
    [said] = [record.getMessage() for record in caplog.records if "nobody answers" in record.getMessage()]
    assert f"nobody answers for {service.host} in tools.mode={mode}: 1 of 1 calls missed" in said
    assert "tools.mode=live" in said and "\n" not in said
    assert service.requests == []
