"""Arguments that mean the same."""

from time import process_time

import pytest

from codetool.tool_calls.matching import find_tool, matches_reference, values_match
from codetool.tool_calls.notation import parse_call
from codetool.tools.call_key import route_request
from codetool.types import HttpRequest, Tool


@pytest.mark.parametrize(
    "other",
    ["the dark knight", "Dark Knight", "The Dark Knight", "THE DARK KNIGHT!", "Dark  Knigth", " The Dark-Knight"],
)
def test_search_texts_forgive_case_articles_accents_and_slips(other):
    assert values_match("query", "The Dark Knight", other)
    assert values_match("query", "Amélie", "amelie")


@pytest.mark.parametrize(
    ("one", "other"),
    [("The Dark Knight", "Batman"), ("Avatar", "Titanic"), ("Toy Story 2", "Toy Story 3"), ("Up", "Us")],
)
def test_other_names_differ(one, other):
    assert not values_match("query", one, other)


def test_other_arguments_are_compared_as_they_stand():
    assert values_match("language", "en-US", "en-us")
    assert not values_match("language", "en-US", "en-UK")
    assert not values_match("with_genres", "12", "13")


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param("GET /a?ids=1&ids=2", "GET /a?ids=2&ids=1", id="order of a repeated argument"),
        pytest.param("GET /a?ids=1&ids=2", "GET /a?ids[]=1&ids[]=2", id="brackets"),
        pytest.param("GET /a?x=1", "GET /a?x=1&y=2", id="further argument"),
        pytest.param("GET /a?x=", "GET /a", id="empty and missing"),
        pytest.param("GET /a?x=8", "GET /a?x=8.0", id="whole number"),
        pytest.param("GET /a?x=true", "GET /a?x=True", id="truth value"),
        pytest.param("GET /a", "GET /a?page=1", id="first page"),
        pytest.param("GET /a?page=", "GET /a", id="empty page"),
        pytest.param("GET /a?query=The+Matrix", "GET /a/?query=matrix", id="search text"),
        pytest.param("POST /a?ids=1&ids=2", "POST /a?ids=1&ids=2", id="write"),
    ],
)
def test_calls_that_mean_the_same(expected, given):
    assert matches_reference(parse_call(expected), parse_call(given))


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param("GET /a?ids=1&ids=2", "GET /a?ids=9&ids=2", id="first of repeated values"),
        pytest.param("GET /a?ids=1&ids=2", "GET /a?ids=2", id="value missing"),
        pytest.param("GET /a?ids=1&ids=2", "GET /a?ids=1&ids=1&ids=2", id="value twice"),
        pytest.param("GET /a?ids=1", "GET /a?ids=1&ids=2", id="value too many"),
        pytest.param("POST /a?ids=1&ids=2", "POST /a?ids=2&ids=1", id="order in a write"),
        pytest.param("GET /a?x=1", "GET /a?x=", id="empty"),
        pytest.param("GET /a?x=1", "GET /a", id="missing"),
        pytest.param("GET /a", "GET /a?page=2", id="page"),
        pytest.param("GET /a?page=2", "GET /a?page=", id="empty page"),
        pytest.param("GET /a?point=52,13", "GET /a?point=13,52", id="order of a comma list"),
        pytest.param("GET /a?v=1.10", "GET /a?v=1.1", id="version"),
        pytest.param("GET /a", "POST /a", id="method"),
        pytest.param("GET /a%2Fb", "GET /a/b", id="encoded slash"),
    ],
)
def test_calls_that_mean_something_else(expected, given):
    assert not matches_reference(parse_call(expected), parse_call(given))


def test_long_search_texts_are_compared_at_once():
    began = process_time()
    assert not values_match("query", "ab" * 100_000, "ba" * 100_000)
    assert process_time() - began < 1


SERVER = "https://films.test/3"
TEMPLATES = (
    "GET /movie/{id}", "POST /movie/{id}", "GET /movie/latest", "GET /movie/{id}/credits", "GET /movie/{id}.json",
    "GET /v1.0/film", "GET /films('{id}')", "GET /$count", "GET /a/{x}/b", "GET /a/b/{x}", "GET /(x", "GET /h%20i",
    "GET /{a}-{b}", "GET /[x]/{y}", "GET /x+y",
)  # fmt: skip
TOOLS = tuple(Tool(line, line.split()[0], SERVER, line.split()[1]) for line in TEMPLATES)


@pytest.mark.parametrize(
    ("line", "template"),
    [
        ("GET /movie/155", "GET /movie/{id}"),
        ("POST /movie/155", "POST /movie/{id}"),
        ("DELETE /movie/155", None),
        ("get /movie/155/", "GET /movie/{id}"),
        ("GET /movie/latest", "GET /movie/latest"),
        ("POST /movie/latest", "POST /movie/{id}"),
        ("GET /movie/a%2Fb", "GET /movie/{id}"),
        ("GET /movie/a/b", None),
        ("GET /movie/155?x=1#y", "GET /movie/{id}"),
        ("GET /movie/155.json", "GET /movie/{id}.json"),
        ("GET /movie/155xjson", "GET /movie/{id}"),
        ("GET /v1.0/film", "GET /v1.0/film"),
        ("GET /v1x0/film", None),
        ("GET /films('7')", "GET /films('{id}')"),
        ("GET /$count", "GET /$count"),
        ("GET /count", None),
        ("GET /a/b/b", "GET /a/b/{x}"),
        ("GET /a/c/b", "GET /a/{x}/b"),
        ("GET /(x", "GET /(x"),
        ("GET /h i", "GET /h%20i"),
        ("GET /1-2", "GET /{a}-{b}"),
        ("GET /[x]/1", "GET /[x]/{y}"),
        ("GET /x/1", None),
        ("GET /x+y", "GET /x+y"),
        ("GET /xxy", None),
        ("GET https://FILMS.test:443/3/movie/155", "GET /movie/{id}"),
        ("GET https://films.test/30/movie/155", None),
        ("GET https://other.test/3/movie/155", None),
    ],
)
def test_the_tool_of_a_call_is_the_one_that_the_broker_finds(line, template):
    tool = find_tool(parse_call(line), TOOLS)
    assert (tool and tool.endpoint) == template
    method, address = line.split(" ", 1)
    url = address if "://" in address else SERVER + address
    assert route_request(HttpRequest(method, url.replace(" ", "%20")), TOOLS).endpoint == template
