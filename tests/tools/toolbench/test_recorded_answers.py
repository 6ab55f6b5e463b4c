"""The published cache as a source of a run's calls."""

from __future__ import annotations

import json
from ast import literal_eval
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from broker_world import Scripted, settings
from cache_world import API, TOOL, call, published, said, write
from data_folder import data_folder

from codetool.errors import MissingError
from codetool.tool_calls.toolbench_api import SERVER, Api
from codetool.tools.call_key import route_request
from codetool.tools.toolbench.recorded_answers import cast_arguments
from codetool.tools.toolbench.tool_docs import ToolDocuments
from codetool.types import HttpRequest, Parameter, Task

TASK = Task("t", "q", (TOOL,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    answers = {
        "{'artist_id': 5, 'tour': True}": said({"name": "Ada"}),
        "{'artist_id': 9}": said({"message": "You are not subscribed to this API."}),
    }
    write(tmp_path, API, answers)
    return tmp_path


def test_a_urls_texts_get_the_types_of_the_document() -> None:
    asked = call(artist_id="5", tour="true", is_from="7")
    assert cast_arguments(asked) == {"artist_id": 5, "tour": True, "is_from": "7"}
    assert cast_arguments(call(artist_id="5.5", tour="perhaps")) == {"artist_id": 5.5, "tour": "perhaps"}
    assert cast_arguments(call(tool=None, artist_id="5")) == {"artist_id": "5"}


async def test_a_programs_request_finds_the_exact_recording(folder: Path) -> None:
    cache = published(folder)
    async with settings(recorded_answers=cache).open() as broker:
        url = f"{SERVER}{API.path}?artist_id=5&tour=true"
        answer = await broker.session(TASK).call(HttpRequest("GET", url))
    assert (answer.status, json.loads(answer.body), answer.provenance) == (200, {"name": "Ada"}, "recorded")
    assert broker.summary().cache == {"exact": 1}
    async with settings(recorded_answers=cache).open() as other:
        assert other.summary().cache == {}


async def test_hits_canonical_hits_and_misses_are_counted(folder: Path) -> None:
    cache = published(folder).open_counted()
    await cache.answer(call(tour="true", artist_id="5"))
    await cache.answer(call(artist_id="5", tour="true"))
    assert await cache.answer(call(artist_id="77")) is None
    assert cache.counts == {"exact": 1, "canonical": 1, "not recorded": 1}


async def test_a_recorded_failure_is_one_to_the_program(folder: Path) -> None:
    answer = await published(folder).answer(call(artist_id="9"))
    assert answer is not None and (answer.status, answer.ok, answer.provenance) == (403, False, "recorded")


async def test_another_services_call_is_left_to_others(folder: Path) -> None:
    cache = published(folder).open_counted()
    assert await cache.answer(replace(call(), url="https://api.example.test/x")) is None
    assert not cache.counts


@pytest.mark.parametrize("mode", ["offline", "strict"])
async def test_the_cache_is_asked_in_every_mode_before_the_replica(folder: Path, mode: str) -> None:
    replica = Scripted({SERVER + API.path: "replica"})
    async with settings(mode=mode, recorded_answers=published(folder), replica=replica).open() as broker:
        session = broker.session(TASK)
        known = await session.call(HttpRequest("GET", f"{SERVER}{API.path}?artist_id=5&tour=true"))
        other = await session.call(HttpRequest("GET", f"{SERVER}{API.path}?artist_id=6"))
    assert known.provenance == "recorded"
    assert (other.provenance, other.failure) == (("replica", None) if mode == "offline" else (None, "miss"))


def test_the_checksum_is_of_what_is_there_and_not_of_where(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other / "stabletoolbench", API, json.loads(write(other, API, {}).read_text()))
    first = published(folder).checksum()
    copy = tmp_path_factory.mktemp("copy")
    file = next((folder / "tool_response_cache").glob("*/*/*.json"))
    write(copy / "stabletoolbench", API, json.loads(file.read_text()))
    assert published(copy).checksum() == first
    write(copy / "stabletoolbench", API, {"{}": said("more")})
    assert published(copy).checksum() != first


@pytest.mark.parametrize("folder_named", [None, "nowhere"])
def test_a_folder_without_the_cache_is_told_with_ways_out(folder_named: str | None) -> None:
    with pytest.raises(
        MissingError, match=r"stabletoolbench/Cache.*tools.recorded_answers.folder=FOLDER.*tools.recorded_answers=null"
    ):
        published(Path(folder_named) if folder_named else None).checksum()  # type: ignore[arg-type]


@pytest.mark.data
async def test_the_downloaded_recordings_are_found_under_their_own_arguments() -> None:
    """Every recorded call, asked as a client asks it, has its answer; what a simulator failed at has none."""
    folder = data_folder("stabletoolbench")
    cache = published(folder)._cache
    found, missing = 0, 0
    for file in sorted((folder / "tool_response_cache").glob("*/*/*.json")):
        category = file.parts[-3]
        api = Api(category, file.parts[-2].removesuffix(f"_for_{category}"), file.stem)
        for text, entry in json.loads(file.read_text()).items():
            hit = cache.find(api, literal_eval(text))
            found, missing = found + (hit is not None and hit.exact), missing + (hit is None)
            assert hit is not None or entry["error"].startswith("Failed to generate")
    assert (found, missing) == (1451, 8)


async def test_what_a_document_declares_is_an_argument_even_if_it_is_named_as_a_secret(tmp_path: Path) -> None:
    """A checker of passwords is asked with one; what no document declares stays out, and so do clients' own keys."""
    write(tmp_path, API, {"{'password': 'hunter2'}": said({"strength": "weak"})})
    tool = replace(TOOL, parameters=(Parameter("password", "query", required=True),))
    async with settings(recorded_answers=published(tmp_path)).open() as broker:
        url = f"{SERVER}{API.path}?password=hunter2&toolbench_key=k"
        answer = await broker.session(Task("t", "q", (tool,))).call(HttpRequest("GET", url))
    assert answer.ok and dict(answer.call.arguments) == {"password": "hunter2"}


@pytest.mark.data
async def test_every_recorded_call_has_its_answer_as_a_program_asks_it() -> None:
    """Through routing, from a URL: what is lost there could never be found in a run."""
    folder = data_folder("stabletoolbench")
    documents, cache = ToolDocuments(folder / "tools"), published(folder)
    lost = []
    for file in sorted((folder / "tool_response_cache").glob("*/*/*.json")):
        category = file.parts[-3]
        api = Api(category, file.parts[-2].removesuffix(f"_for_{category}"), file.stem)
        tool = documents.get_tool(api)
        for text, entry in json.loads(file.read_text()).items():
            arguments = literal_eval(text)
            if entry["error"] or not all(isinstance(each, str | int) and each != "" for each in arguments.values()):
                continue
            request = HttpRequest("GET", f"{SERVER}{quote(api.path)}?{urlencode(arguments)}")
            answer = await cache.answer(route_request(request, (tool,), keep_declared=True))
            if answer is None:
                lost.append((file.stem, text))
    assert len(lost) < 5, lost
