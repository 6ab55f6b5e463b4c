"""The replica's answers have the keys and types of the service's documented and recorded answers."""

import json
import os
from datetime import date
from pathlib import Path

import pytest

from codetool.tools.tmdb.replica import TMDBReplica
from codetool.types import ToolCall

SERVER = "https://api.themoviedb.org/3"
UNRECORDED = {"GET_search_person", "GET_movie_movie_id_credits", "GET_tv_popular", "GET_tv_tv_id"}
REQUESTS = {
    "GET_search_movie": ("/search/movie", "/search/movie", {"query": "star"}),
    "GET_search_tv": ("/search/tv", "/search/tv", {"query": "the"}),
    "GET_search_person": ("/search/person", "/search/person", {"query": "nolan"}),
    "GET_search_collection": ("/search/collection", "/search/collection", {"query": "the"}),
    "GET_movie_movie_id": ("/movie/{movie_id}", "/movie/155", {}),
    "GET_movie_movie_id_credits": ("/movie/{movie_id}/credits", "/movie/155/credits", {}),
    "GET_tv_popular": ("/tv/popular", "/tv/popular", {}),
    "GET_tv_tv_id": ("/tv/{tv_id}", "/tv/1396", {}),
    "GET_tv_tv_id_credits": ("/tv/{tv_id}/credits", "/tv/1920/credits", {}),
    "GET_person_person_id": ("/person/{person_id}", "/person/525", {}),
    "GET_person_person_id_movie_credits": ("/person/{person_id}/movie_credits", "/person/190/movie_credits", {}),
    "GET_collection_collection_id": ("/collection/{collection_id}", "/collection/10", {}),
    "GET_company_company_id": ("/company/{company_id}", "/company/1", {}),
}


@pytest.fixture
def data():
    folder = os.environ.get("CODETOOL_DATA")
    if folder is None or not (Path(folder) / "tmdb_recorded").is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("CODETOOL_DATA names no folder with tmdb_recorded")
    return Path(folder)


async def ask(name):
    _, path, arguments = REQUESTS[name]
    answer = await TMDBReplica(as_of=date(2024, 6, 1)).answer(ToolCall("GET", SERVER + path, arguments))
    assert answer.ok
    return json.loads(answer.body)


def kind(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object", type(None): "null"}[type(value)]


def merged(values):
    """One example of all dicts together: every key with the values it was seen with."""
    seen = {}
    for value in values:
        for name, inner in value.items():
            seen.setdefault(name, []).append(inner)
    return seen


def compare(recorded, ours, where):
    kinds, own = {kind(value) for value in recorded}, {kind(value) for value in ours}
    optional = {"null", "string", "object"} if "null" in kinds | own else set()
    assert own <= kinds | optional, f"{where}: {own} where the service gives {kinds}"
    if "object" in kinds and "object" in own:
        theirs, mine = (merged(v for v in values if isinstance(v, dict)) for values in (recorded, ours))
        assert set(mine) == set(theirs), f"{where}: {set(mine) ^ set(theirs)}"
        for name in mine:
            compare(theirs[name], mine[name], f"{where}.{name}")
    if "array" in kinds and "array" in own:
        theirs, mine = ([v for value in some if isinstance(value, list) for v in value] for some in (recorded, ours))
        if theirs and mine:
            compare(theirs, mine, f"{where}[]")


@pytest.mark.parametrize("name", sorted(set(REQUESTS) - UNRECORDED))
async def test_keys_and_types_are_those_of_the_recorded_answer(data, name):
    recorded = json.loads((data / "tmdb_recorded" / f"{name}.json").read_bytes())
    compare([recorded["body"]], [await ask(name)], name)


async def test_a_person_in_a_list_looks_as_recorded(data):
    recorded = json.loads((data / "tmdb_recorded" / "GET_person_popular.json").read_bytes())["body"]
    films = [work for person in recorded["results"] for work in person["known_for"] if work["media_type"] == "movie"]
    ours = await ask("GET_search_person")
    found = [work for person in ours["results"] for work in person["known_for"] if work["media_type"] == "movie"]
    compare(films, found, "known_for")
    for person in recorded["results"] + ours["results"]:
        del person["known_for"]
    compare(recorded["results"], ours["results"], "person")


def documented(document, schema, value, where):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and schema.get("properties"):
        properties = {name: inner for name, inner in schema["properties"].items() if name}
        assert set(properties) <= set(value), f"{where}: {set(properties) - set(value)} missing"
        for name, inner in properties.items():
            documented(document, inner, value[name], f"{where}.{name}")
    elif isinstance(value, list) and "items" in schema and "oneOf" not in schema["items"]:
        for entry in value:
            documented(document, schema["items"], entry, f"{where}[]")
    elif "type" in schema and value is not None:
        wanted = "number" if schema["type"] == "integer" else schema["type"]
        assert kind(value) == wanted or wanted == "null", f"{where}: {value!r} is no {wanted}"


@pytest.mark.parametrize("name", REQUESTS)
async def test_every_documented_key_is_there_with_its_type(data, name):
    document = json.loads((data / "restbench" / "tmdb_oas.json").read_bytes())
    operation = document["paths"][REQUESTS[name][0]]["get"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    documented(document, schema, await ask(name), name)


async def test_unknown_ids_fail_as_recorded(data):
    replica = TMDBReplica(as_of=date(2024, 6, 1))
    for error in json.loads((data / "tmdb_recorded" / "_errors.json").read_bytes()):
        answer = await replica.answer(ToolCall("GET", SERVER + error["path"], {}))
        if answer is not None:
            assert (answer.status, json.loads(answer.body)) == (error["status"], error["body"])
