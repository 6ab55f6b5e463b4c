"""Calls as lines of text."""

import pytest

from codetool.calls import WrittenCall, read, written
from codetool.types import Tool, ToolCall

SERVER = "https://films.test/3"
CREDITS = Tool("credits", "GET", SERVER, "/movie/{movie_id}/credits")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (ToolCall("GET", f"{SERVER}/movie/155/credits", {"movie_id": "155"}, CREDITS), "GET /movie/155/credits"),
        (
            ToolCall("GET", f"{SERVER}/movie/155/credits", {"page": 2, "movie_id": "155", "language": "en"}, CREDITS),
            "GET /movie/155/credits?language=en&page=2",
        ),
        (
            ToolCall("GET", f"{SERVER}/search/tv", {"query": "Pride & Prejudice"}),
            "GET /search/tv?query=Pride+%26+Prejudice",
        ),
        (ToolCall("GET", f"{SERVER}/a", {"yes": True, "none": None, "ids": [1, 2]}), "GET /a?ids=1&ids=2&yes=true"),
    ],
)
def test_a_call_is_its_path_below_the_server_with_sorted_arguments(call, text):
    assert written(call, SERVER) == text


def test_a_call_of_an_unknown_server_keeps_its_address():
    assert written(ToolCall("POST", "https://other.test/a", {})) == "POST https://other.test/a"


def test_reading_decodes_what_writing_encoded():
    call = ToolCall("GET", f"{SERVER}/search/tv", {"query": "Véronique & co", "page": "1"})
    assert read(written(call, SERVER)) == WrittenCall("GET", "/search/tv", dict(call.arguments))
    assert read("GET /movie/top_rated") == WrittenCall("GET", "/movie/top_rated", {})
