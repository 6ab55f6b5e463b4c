"""Calls as lines of text."""

import pytest

from codetool.tool_calls.notation import ParsedCall, format_call, parse_call
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
        (ToolCall("GET", f"{SERVER}/a", {"ids": [], "x": [None, 1]}), "GET /a?x=1"),
        (
            ToolCall("POST", f"{SERVER}/a", {"film": {"b": 1, "a": None}}),
            "POST /a?film=%7B%22a%22%3A+null%2C+%22b%22%3A+1%7D",
        ),
        (ToolCall("GET", "https://films.test/30/a", {}), "GET https://films.test/30/a"),
    ],
)
def test_a_call_is_its_path_below_the_server_with_sorted_arguments(call, text):
    assert format_call(call, SERVER) == text


def test_a_call_of_an_unknown_server_keeps_its_address():
    assert format_call(ToolCall("POST", "https://other.test/a", {})) == "POST https://other.test/a"


def test_reading_decodes_what_writing_encoded():
    call = ToolCall("GET", f"{SERVER}/search/tv", {"query": "Véronique & co", "page": "1", "ids": ["1", "a,b"]})
    arguments = {"ids": ("1", "a,b"), "page": ("1",), "query": ("Véronique & co",)}
    assert parse_call(format_call(call, SERVER)) == ParsedCall("GET", "/search/tv", arguments)
    assert parse_call("GET /movie/top_rated") == ParsedCall("GET", "/movie/top_rated", {})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a?q=x y", "GET /a?q=x%20y"),
        ("GET /a?q=x+y", "GET /a?q=x%20y"),
        ("GET /a/", "GET /a"),
        ("get /a", "GET /a"),
        ("GET /a?x=1#top", "GET /a?x=1"),
        ("GET /a#top", "GET /a"),
        ("GET /a?ids[]=1&ids[]=2", "GET /a?ids=1&ids=2"),
        ("GET /a?ids%5B%5D=1", "GET /a?ids=1"),
        ("GET /Am%C3%A9lie", "GET /Amélie"),
        ("GET /a%2fb", "GET /a%2Fb"),
        ("GET HTTPS://Films.Test:443/3/a", "GET https://films.test/3/a"),
        ("GET http://films.test:80/a", "GET http://films.test/a"),
    ],
)
def test_spellings_of_one_call_are_read_alike(one, other):
    assert parse_call(one) == parse_call(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GET /a?ids=1&ids=2", "GET /a?ids=9&ids=2"),
        ("GET /a?ids=1&ids=2", "GET /a?ids=2"),
        ("GET /a?x=", "GET /a"),
        ("GET /a%2Fb", "GET /a/b"),
        ("GET /a%252Fb", "GET /a%2Fb"),
        ("GET /a+b", "GET /a b"),
        ("GET /a", "POST /a"),
        ("GET https://films.test:8080/a", "GET https://films.test/a"),
    ],
)
def test_other_calls_are_read_apart(one, other):
    assert parse_call(one) != parse_call(other)
