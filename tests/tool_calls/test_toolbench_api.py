"""ToolBench's names and documents, as its server spells and publishes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codetool.tool_calls.toolbench_api import SERVER, Api, argument_name, parse_data, parse_tool, standard_category


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("Songkick artist", "songkick_artist"),
        ("Search (FREE) - by Title!", "search_free_by_title"),
        ("50K Radio Stations", "get_50k_radio_stations"),
        ("__get__x__", "get_x"),
        ("天气 API", "天气_api"),
        ("from", "is_from"),
        ("Return", "is_return"),
        ("***", ""),
    ],
)
def test_names_are_spelled_as_the_server_expects(written: str, spelled: str) -> None:
    assert argument_name(written) == spelled


@pytest.mark.parametrize(
    ("written", "folder"),
    [("Video, Images", "Video_Images"), ("News, Media", "News_Media"), ("Health and Fitness", "Health_and_Fitness")],
)
def test_categories_are_spelled_as_folders(written: str, folder: str) -> None:
    assert standard_category(written) == folder


def test_an_api_is_the_same_however_a_client_names_it() -> None:
    names = [
        ("Data", "TheClique", "Songkick artist"),
        ("Data", "theclique", "songkick_artist"),
        ("Data", "theclique_for_Data", "songkick_artist_for_theclique"),
    ]
    assert {Api.from_tool(*each) for each in names} == {Api("Data", "theclique", "songkick_artist")}


def test_an_api_is_found_again_by_its_address() -> None:
    api = Api("Data", "天气", "now")
    assert Api.from_url(SERVER + api.path) == api
    assert Api.from_url(f"{SERVER.replace('localhost', 'LocalHost')}{api.path}/?q=1#top") == api
    for other in ("https://example.test/virtual/a/b/c", f"{SERVER}/a/b", f"{SERVER}/a/b/c/d", SERVER, ""):
        assert Api.from_url(other) is None


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "category_name": "Data",
        "tool_name": "TheClique",
        "api_name": "Songkick artist",
        "api_description": "Artist info",
        "required_parameters": [{"name": "Artist ID", "type": "NUMBER", "description": "whose", "default": 7}],
        "optional_parameters": [{"name": "from", "type": "DATE (YYYY-MM-DD)", "description": "", "default": ""}],
        "method": "get",
        "template_response": {"name": "str", "fans": [{"id": "int", "_list_length": 3}], "tags": "empty list"},
    } | changes


def test_a_document_becomes_a_tool_with_types_and_defaults() -> None:
    made = parse_tool(entry())
    assert (made.name, made.endpoint) == ("songkick_artist_for_theclique", "GET /Data/theclique/songkick_artist")
    first, second = made.parameters
    assert (first.name, first.type, first.required, first.default) == ("artist_id", "number", True, 7)
    assert (second.name, second.type, second.required, second.default) == ("is_from", "date (yyyy-mm-dd)", False, None)
    assert made.response == {"name": "string", "fans": [{"id": "integer"}], "tags": []}


def test_optional_parameters_stay_where_none_is_required() -> None:
    assert [each.name for each in parse_tool(entry(required_parameters=[])).parameters] == ["is_from"]


def test_of_two_parameters_with_one_spelling_the_required_one_counts() -> None:
    [only] = parse_tool(entry(optional_parameters=[{"name": "artist-id", "type": "STRING", "default": ""}])).parameters
    assert only.required


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"a": [1, 2]}', {"a": [1, 2]}),
        ("{'a': None, 'b': True, 'c': 'it\\'s'}", {"a": None, "b": True, "c": "it's"}),
        ("[]", []),
        ("False", False),
        ("a sentence", "a sentence"),
        ("12", "12"),
        ("{not data}", "{not data}"),
        ("{'a': {1, 2}}", "{'a': {1, 2}}"),
        ("[1] Smith 2020. A paper on cells.", "[1] Smith 2020. A paper on cells."),
        ('{"a": 1} trailing words', '{"a": 1} trailing words'),
        ("[2023] something [2024", "[2023] something [2024"),
    ],
)
def test_texts_that_write_data_are_data(text: str, data: Any) -> None:
    assert parse_data(text) == data


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ('{"a": 1, "b": {"c": "x, y", "d": "unfin', {"a": 1, "b": {"c": "x, y"}}),
        ("[{'a': 1}, {'a': 2}, {'a': ", [{"a": 1}, {"a": 2}, {}]),
        ("[{'t': 'he said \"[no]'}, {'t': 'cu...", [{"t": 'he said "[no]'}, {}]),
        ("[1, 2, 3", [1, 2]),
        ('{"a": "only a beginning...', '{"a": "only a beginning...'),
    ],
)
def test_of_a_text_that_was_cut_off_the_complete_entries_are_kept(cut: str, kept: Any) -> None:
    assert parse_data(cut) == kept


def test_every_prefix_of_a_text_is_part_of_what_it_writes() -> None:
    data = {"a": [{"b": "x"}, {"b": "y, z", "c": [1, 2, {"d": None}]}], "e": "f"}
    for text in (json.dumps(data), str(data)):
        for length in range(1, len(text)):
            found = parse_data(text[:length])
            assert isinstance(found, str) or is_part(found, data), text[:length]


def is_part(found: Any, whole: Any) -> bool:
    if isinstance(found, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(found[name], whole[name]) for name in found)
    if isinstance(found, list):
        return isinstance(whole, list) and all(map(is_part, found, whole)) and len(found) <= len(whole)
    return bool(found == whole)


def test_long_texts_are_read_in_a_time_that_grows_with_their_length() -> None:
    """A text of ten million characters: were it read over again at each comma, this would take hours."""
    entry = '{"id": 1, "name": "a name, with [brackets]"}'
    text = f"[{', '.join([entry] * 200_000)}]"
    whole, cut = parse_data(text), parse_data(text[:-20])
    assert isinstance(whole, list) and isinstance(cut, list) and (len(whole), len(cut)) == (200_000, 200_000)
