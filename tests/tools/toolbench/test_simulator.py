"""A model in a tool's place: what it is shown, what of its answers is taken, and that they are kept apart."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broker_world import settings
from cache_world import API, TOOL, published, said, write
from chat_server import ChatServer, Reply, chat, serve_chat
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from codetool.errors import ConfigError, MissingError
from codetool.tool_calls.toolbench_api import SERVER
from codetool.tools.simulator import ModelSimulatorConfig, extract_reply, matches_schema
from codetool.types import HttpRequest, Task, ToolAnswer

CONF = Path(__file__).parents[3] / "conf"
TASK = Task("t", "q", (TOOL,))


def simulator(url: str, option: str = "openai", **changed: Any) -> ModelSimulatorConfig:
    words = {"model": "m", "base_url": url, "backoff": 0.01, "retries": 1} | changed
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            overrides=[f"+simulator={option}", *(f"simulator.{name}={each}" for name, each in words.items())]
        )
    made = instantiate(config.simulator)
    assert isinstance(made, ModelSimulatorConfig)
    return made


def reply(response: Any, error: str = "") -> str:
    return json.dumps({"error": error, "response": response})


def get(**arguments: Any) -> HttpRequest:
    query = "&".join(f"{name}={value}" for name, value in arguments.items())
    return HttpRequest("GET", f"{SERVER}{API.path}?{query}")


async def answers(
    folder: Path, handler: Callable[[dict[str, Any]], Reply], *requests: HttpRequest, **changed: Any
) -> tuple[list[ToolAnswer], ChatServer]:
    """What requests at once are answered by the cache in the folder and a simulator."""
    async with serve_chat(handler) as server:
        tools = settings(
            mode="simulated",
            recorded_answers=published(folder),
            simulator=simulator(server.url, **changed),
            record_to=folder / "recorded.jsonl",
        )
        async with tools.open() as broker:
            session = broker.session(TASK)
            return list(await asyncio.gather(*map(session.call, requests))), server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    calls = {f"{{'artist_id': {n}}}": said({"name": f"artist {n}", "songs": [n]}) for n in range(1, 8)}
    write(tmp_path, API, calls)
    return tmp_path


GOOD = {"name": "Ada", "songs": [1, 2], "more": None}


async def test_what_is_recorded_is_not_made_up(folder: Path) -> None:
    [answer], server = await answers(folder, lambda body: chat(reply(GOOD)), get(artist_id=1))
    assert answer.provenance == "recorded" and not server.requests


async def test_a_miss_is_made_up_from_the_document_and_the_recorded_calls(folder: Path) -> None:
    [answer], server = await answers(folder, lambda body: chat(reply(GOOD)), get(artist_id=77))
    assert (answer.provenance, json.loads(answer.body), answer.ok) == ("simulated", GOOD, True)
    shown = server.requests[0]["messages"][1]["content"]
    assert "GET /Data/clique/artist" in shown and "artist_id (number, required)" in shown and '"77"' in shown
    assert shown.count("Call: ") == 5 and "artist 5" in shown and "artist 6" not in shown


@pytest.mark.parametrize(
    "bad", ["no JSON", reply("a text"), reply({"name": "no songs"}), reply({}), reply([GOOD]), '{"answer": 1}']
)
async def test_an_answer_that_does_not_fit_is_asked_for_again(folder: Path, bad: str) -> None:
    texts = [bad, bad, reply(GOOD)]
    [answer], server = await answers(folder, lambda body: chat(texts[len(server_requests(body))]), get(artist_id=77))
    assert answer.provenance == "simulated" and len({body["seed"] for body in server.requests}) == 3


def server_requests(body: dict[str, Any], seen: list[int] = []) -> list[int]:  # noqa: B006
    """The requests of this test before this one, told apart by their seeds, which rise by one."""
    first = seen and seen[0] <= body["seed"] < seen[0] + 3
    if not first:
        seen[:] = [body["seed"]]
    return list(range(body["seed"] - seen[0]))


async def test_what_never_fits_is_a_named_miss_and_is_not_recorded(folder: Path) -> None:
    [answer], server = await answers(folder, lambda body: chat("no"), get(artist_id=77))
    assert (answer.failure, len(server.requests)) == ("miss", 3)
    assert not (folder / "recorded.jsonl").read_text()


async def test_a_server_that_breaks_is_no_miss_and_is_asked_again_for_the_next_call(folder: Path) -> None:
    broken = True

    def handler(body: dict[str, Any]) -> Reply:
        return Reply(500, {}) if broken and "77" in str(body["messages"]) else chat(reply(GOOD))

    replies, _ = await answers(folder, handler, get(artist_id=77), get(artist_id=78))
    assert [(answer.failure, answer.transient) for answer in replies] == [("unreachable", True), (None, False)]


async def test_a_failure_that_the_service_would_tell_is_an_answer(folder: Path) -> None:
    [answer], _ = await answers(folder, lambda body: chat(reply("", "no such artist")), get(artist_id=77))
    assert (answer.status, answer.provenance, answer.ok) == (404, "simulated", False)


async def test_equal_calls_have_one_answer_now_and_in_a_later_run(folder: Path) -> None:
    made: list[str] = []

    def write_another(body: dict[str, Any]) -> Reply:
        made.append(str(len(made)))
        return chat(reply(GOOD | {"name": made[-1]}))

    at_once, server = await answers(folder, write_another, get(artist_id=77), get(artist_id="77.0"), get(artist_id=8))
    later, again = await answers(folder, write_another, get(artist_id=77))
    assert at_once[0].body == at_once[1].body == later[0].body and at_once[2].body != at_once[0].body
    assert (len(server.requests), len(again.requests), later[0].provenance) == (2, 0, "simulated")


async def test_what_another_simulator_made_up_does_not_count(folder: Path) -> None:
    await answers(folder, lambda body: chat(reply(GOOD)), get(artist_id=77))
    [answer], server = await answers(folder, lambda body: chat(reply(GOOD)), get(artist_id=77), temperature=0.5)
    assert len(server.requests) == 1 and answer.provenance == "simulated"


async def test_other_modes_never_take_what_was_made_up(folder: Path) -> None:
    await answers(folder, lambda body: chat(reply(GOOD)), get(artist_id=77))
    async with settings(
        mode="strict", recorded_answers=published(folder), recordings=(folder / "recorded.jsonl",)
    ).open() as broker:
        answer = await broker.session(TASK).call(get(artist_id=77))
    assert answer.failure == "miss"


async def test_mirrorapi_is_asked_in_the_format_it_was_trained_in(folder: Path, tmp_path: Path) -> None:
    system = tmp_path / "system.txt"
    system.write_text("You are the API that you were trained to be.")
    written = '{"error": "", "response": "{"status":0,"names":["en","fr"]}"}'
    [answer], server = await answers(
        folder, lambda body: chat(written), get(artist_id=77), option="mirrorapi", system_file=str(system)
    )
    assert json.loads(answer.body) == {"status": 0, "names": ["en", "fr"]}
    first, second = server.requests[0]["messages"]
    assert first == {"role": "system", "content": system.read_text()}
    assert second["content"].startswith("API doc:\n{'api_name': 'artist', 'api_description': 'Artist info', ")
    assert second["content"].endswith("\n\nRequest:\n{'artist_id': '77'}")
    assert "'required_parameters': [{'name': 'artist_id', 'type': 'number'" in second["content"]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"error": "", "response": {"a": 1}}', {"a": 1}),
        ('```json\n{"error": "", "response": [1]}\n```', [1]),
        ('<think>an {object}</think>\n{"error": "", "response": "x"}', "x"),
        ('Here it is: {"error": "", "response": {"a": 1}}', {"a": 1}),
        ('{"error": "", "response": "{"a": "b"}"}', {"a": "b"}),
        ('{"error": "", "response": {"a": 1, "b": "cut of', {"a": 1}),
    ],
)
def test_replies_are_read_as_models_write_them(text: str, data: Any) -> None:
    found = extract_reply(text)
    assert found is not None and found.data == data


@pytest.mark.parametrize("text", ["", "no", "{}", '{"error": "Failed to generate fake response", "response": ""}'])
def test_what_is_no_reply_is_none(text: str) -> None:
    assert extract_reply(text) is None


def test_without_recorded_calls_the_documents_shape_counts() -> None:
    assert (
        matches_schema({"a": 1}, [], {"b": "string"})
        and matches_schema([1], [], ["integer"])
        and matches_schema("x", [], None)
    )
    assert (
        not matches_schema([1], [], {"b": "string"})
        and not matches_schema({}, [], {"b": "string"})
        and not matches_schema(None, [], None)
    )


async def test_a_model_that_is_not_named_or_not_there_is_told_before_any_call() -> None:
    with pytest.raises(ConfigError, match=r"simulator\.model=NAME"):
        async with settings(mode="simulated", simulator=simulator("http://127.0.0.1:9/v1", model="null")).open():
            pass
    with pytest.raises(MissingError, match="system_file=nowhere.txt"):
        simulator("http://127.0.0.1:9/v1", system_file="nowhere.txt").checksum()


def test_a_reply_of_many_fields_without_end_is_read_at_once() -> None:
    start = time.process_time()
    assert extract_reply('{"error": "solved' * 12_000) is None
    assert time.process_time() - start < 1
