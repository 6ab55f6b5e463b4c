import json
import random
import subprocess
import sys
import time

import pytest
from broker_world import FILMS, film_tools, get

from codetool.tools.call_key import compute_call_key, route_request
from codetool.types import HttpRequest, Parameter, Tool, ToolCall

TOOLS = film_tools()


def key(url: str) -> str:
    return compute_call_key(route_request(get(url), TOOLS))


@pytest.mark.parametrize(
    ("path", "endpoint", "arguments"),
    [
        ("/movie/278", "GET /movie/{movie_id}", {"movie_id": "278"}),
        ("/movie/278/credits", "GET /movie/{movie_id}/credits", {"movie_id": "278"}),
        ("/movie/latest", "GET /movie/latest", {}),
        ("/movie/latest/credits", "GET /movie/{movie_id}/credits", {"movie_id": "latest"}),
        ("/movie/278/", "GET /movie/{movie_id}", {"movie_id": "278"}),
        ("/search/movie?query=The%20Lord+of", "GET /search/movie", {"query": "The Lord of"}),
        ("/search/movie?query=V%C3%A9ronique", "GET /search/movie", {"query": "Véronique"}),
        ("/search/movie?genres=1&genres=2", "GET /search/movie", {"genres": ["1", "2"]}),
        ("/search/movie?genres[]=1", "GET /search/movie", {"genres": ["1"]}),
        ("/search/movie?query=", "GET /search/movie", {"query": ""}),
        ("/movie/a%2Fb", "GET /movie/{movie_id}", {"movie_id": "a/b"}),
        ("/tv/1/season/2", "GET /tv/{tv_id}/season/{n}", {"tv_id": "1", "n": "2"}),
        ("/movie//credits", None, {}),
        ("/movie/..", None, {}),
        ("/movie", None, {}),
        ("/movie/1/credits/2", None, {}),
        ("", None, {}),
    ],
)
def test_a_url_finds_its_operation_and_arguments(path: str, endpoint: str | None, arguments: dict[str, object]) -> None:
    call = route_request(get(FILMS + path), TOOLS)
    assert (call.endpoint, call.arguments) == (endpoint, arguments)


def test_scheme_and_letter_case_of_the_host_do_not_matter_and_the_document_gives_the_address() -> None:
    assert route_request(get("http://API.Films.Test:80/3/movie/1"), TOOLS).url == f"{FILMS}/movie/1"


@pytest.mark.parametrize("url", ["https://api.films.test:8443/3/movie/1", "https://other.test/3/movie/1"])
def test_another_port_or_host_is_another_service(url: str) -> None:
    assert route_request(get(url), TOOLS).tool is None


def test_a_method_that_no_document_has_is_not_matched() -> None:
    assert route_request(HttpRequest("DELETE", f"{FILMS}/movie/1"), TOOLS).tool is None


def test_each_set_of_tools_is_matched_against_its_own_documents() -> None:
    endpoints = []
    for name in ("a", "b", "a"):
        tools = (Tool("t", "GET", FILMS, f"/movie/{{{name}}}", response={"not": "hashable"}),)
        endpoints.append(route_request(get(f"{FILMS}/movie/1"), tools).endpoint)
    assert endpoints == ["GET /movie/{a}", "GET /movie/{b}", "GET /movie/{a}"]


def test_a_segment_with_text_around_its_variables_matches() -> None:
    tools = (Tool("t", "GET", "http://w.test", "/at/{lat},{lon}.json"),)
    assert route_request(get("http://w.test/at/1.5,-2.json"), tools).arguments == {"lat": "1.5", "lon": "-2"}


@pytest.mark.parametrize(
    ("body", "arguments"),
    [
        ('{"value": 8.5, "tags": ["a"]}', {"value": 8.5, "tags": ["a"]}),
        ("value=8.5&tag=a&tag=b", {"value": "8.5", "tag": ["a", "b"]}),
        ("[1, 2]", {"body": [1, 2]}),
        ("plain words", {"body": "plain words"}),
        ("[" * 5000 + "]" * 5000, {"body": "[" * 5000 + "]" * 5000}),
        ("[" * 400 + "]" * 400, {"body": "[" * 400 + "]" * 400}),
        ("", {}),
    ],
)
def test_a_body_becomes_arguments(body: str, arguments: dict[str, object]) -> None:
    call = route_request(HttpRequest("POST", f"{FILMS}/movie/1/rating", body), TOOLS)
    assert call.arguments == {"movie_id": "1"} | arguments


def test_no_value_is_lost_where_path_query_and_body_share_a_name() -> None:
    call = route_request(HttpRequest("POST", f"{FILMS}/movie/1/rating?movie_id=2", '{"movie_id": 3}'), TOOLS)
    assert call.arguments == {"movie_id": "1", "query.movie_id": "2", "body.movie_id": 3}


@pytest.mark.parametrize("url", ["", "movie/1", "file:///etc/passwd", "http://[::1/x", "http://h:99999/", "http:///x"])
def test_what_is_no_http_url_is_a_call_without_tool(url: str) -> None:
    call = route_request(get(url), TOOLS)
    assert (call.tool, call.arguments, call.request) == (None, {}, None)


def test_lone_surrogates_are_replaced() -> None:
    call = route_request(HttpRequest("GET", f"{FILMS}/search/movie?query=a\ud800b", "x=\udfff"), TOOLS)
    assert call.arguments == {"query": "a\ufffdb", "x": "\ufffd"}


@pytest.mark.parametrize("name", ["api_key", "API-Key", "apikey", "access_token", "session_id", "guest_session_id"])
def test_a_secret_argument_is_removed_wherever_it_stands(name: str) -> None:
    body = json.dumps({"value": 1, "user": [{name: "SECRET"}], name: "SECRET"})
    for text in (body, f"value=1&{name}=SECRET"):
        call = route_request(
            HttpRequest("POST", f"https://u:SECRET@api.films.test/3/x?{name}=SECRET&a=1#SECRET", text), TOOLS
        )
        assert "SECRET" not in f"{call} {call.request} {compute_call_key(call)}"
        assert "1" in call.arguments["a"]


def test_a_path_variable_that_is_a_secret_stays_a_variable() -> None:
    tools = (Tool("t", "GET", FILMS, "/guest_session/{guest_session_id}/rated"),)
    call = route_request(get(f"{FILMS}/guest_session/SECRET/rated"), tools)
    assert (call.endpoint, call.arguments) == ("GET /guest_session/{guest_session_id}/rated", {})
    assert "SECRET" not in f"{call} {call.request}"


@pytest.mark.parametrize("name", ["session_id", "token", "api_key", "guest_session_id"])
def test_a_path_variable_that_the_document_describes_is_an_argument(name: str) -> None:
    tools = (Tool("t", "GET", FILMS, f"/uploads/{{{name}}}", parameters=(Parameter(name, "path", required=True),)),)
    call = route_request(get(f"{FILMS}/uploads/7?api_key=SECRET"), tools)
    assert (call.url, call.arguments) == (f"{FILMS}/uploads/7", {name: "7"})
    assert call.request is not None and call.request.url == f"{FILMS}/uploads/7"


def test_names_that_are_secrets_at_one_service_can_be_added() -> None:
    assert route_request(get(f"{FILMS}/movie/1?token=x"), TOOLS, frozenset({"token"})).arguments == {"movie_id": "1"}


def test_a_request_without_secret_is_passed_on_as_written() -> None:
    request = HttpRequest("POST", f"{FILMS}/movie/1/rating?a=1&b[]=2&a=3", '{"value" :  8.50}')
    sent = route_request(request, TOOLS).request
    assert sent == HttpRequest("POST", f"{FILMS}/movie/1/rating?a=1&b%5B%5D=2&a=3", request.body)


EQUAL = [
    ("/search/movie?query=x&page=2", "/search/movie/?page=2&query=x"),
    ("/search/movie?query=x&page=2", "/search/movie?query=x&page=2.0"),
    ("/search/movie?query=x&page=02", "/search/movie?query=x&page=2"),
    ("/search/movie?query=x", "/search/movie?query=%20x%20"),
    ("/search/movie?query=x", "/search/movie?query=x&page=1"),
    ("/search/movie?query=x", "/search/movie?query=x&include_adult=False"),
    ("/search/movie?query=x&include_adult=True", "/search/movie?query=x&include_adult=true"),
    ("/search/movie?query=x&rating=7.50", "/search/movie?query=x&rating=7.5"),
    ("/search/movie?query=V%C3%A9", "/search/movie?query=Ve%CC%81"),
    ("/search/movie?query=x&genres=1", "/search/movie?query=x&genres[]=1"),
    ("/search/movie?query=x", "/search/movie?query=x&api_key=1"),
    ("/unknown?a=1", "/unknown/?a=1"),
    ("/unknown?a=True", "/unknown?a=true"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_spellings_of_one_call_share_a_key(one: str, other: str) -> None:
    assert key(FILMS + one) == key(FILMS + other)


DIFFERENT = [
    ("/search/movie?query=x", "/search/movie?query=X"),
    ("/search/movie?query=x", "/search/movie?query=x&page=2"),
    ("/search/movie?query=x", "/search/movie?query=x&region="),
    ("/search/movie?query=007", "/search/movie?query=7"),
    ("/search/movie?query=1.0", "/search/movie?query=1"),
    ("/search/movie?query=True", "/search/movie?query=true"),
    ("/search/movie?query=x&genres=1&genres=2", "/search/movie?query=x&genres=2&genres=1"),
    ("/movie/1", "/movie/2"),
    ("/movie/1", "/movie/1/credits"),
    ("/unknown?v=1.10", "/unknown?v=1.1"),
    ("/unknown", "/unknown2"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_calls_have_different_keys(one: str, other: str) -> None:
    assert key(FILMS + one) != key(FILMS + other)


def test_the_key_shows_method_template_and_arguments() -> None:
    assert key(f"{FILMS}/movie/278/credits") == f'GET {FILMS}/movie/{{movie_id}}/credits {{"movie_id":"278"}}'


def test_a_required_argument_is_kept_even_if_it_equals_an_example_in_its_document() -> None:
    tools = (Tool("t", "GET", FILMS, "/a", parameters=(Parameter("league", "query", required=True, default="nba"),)),)
    assert compute_call_key(route_request(get(f"{FILMS}/a"), tools)) != compute_call_key(
        route_request(get(f"{FILMS}/a?league=nba"), tools)
    )


SPELLINGS: list[tuple[object, ...]] = [
    (1, 1.0, "1", " 1 "),
    (True, "true", "True", "TRUE"),
    (False, "false"),
    (0, -0.0, 0.0),
    (1.5, "1.5"),
    ("e\u0301", "\u00e9"),
    ([1, "a"], ["1", "a"], (1.0, "a ")),
    ({"b": 1, "a": None}, {"b": "1"}),
]


@pytest.mark.parametrize("seed", range(20))
def test_a_key_depends_neither_on_spelling_nor_on_order(seed: int) -> None:
    draw = random.Random(seed)
    chosen = {f"n{i}": draw.choice(SPELLINGS) for i in range(draw.randrange(1, 8))}
    plain = {name: spellings[0] for name, spellings in chosen.items()}
    other = [(name, draw.choice(spellings)) for name, spellings in chosen.items()] + [("absent", None)]
    draw.shuffle(other)
    assert compute_call_key(ToolCall("GET", "http://a.test/b", dict(other))) == compute_call_key(
        ToolCall("GET", "http://a.test/b/", plain)
    )


@pytest.mark.parametrize("seed", range(20))
def test_changing_one_value_changes_the_key(seed: int) -> None:
    draw = random.Random(seed)
    arguments = {f"n{i}": spellings[0] for i, spellings in enumerate(SPELLINGS)}
    name = draw.choice(sorted(arguments))
    changed = arguments | {name: [arguments[name], "more"]}
    assert compute_call_key(ToolCall("GET", "http://a.test", arguments)) != compute_call_key(
        ToolCall("GET", "http://a.test", changed)
    )


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "from codetool.tools.call_key import compute_call_key, route_request; from codetool.types import HttpRequest;"
        "print(compute_call_key(route_request(HttpRequest('GET', 'http://a.test/x?b=1&a=%C3%A9&c=2'), ())))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-X", "utf8", "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert runs == {compute_call_key(route_request(get("http://a.test/x?b=1&a=%C3%A9&c=2"), ())) + "\n"}


def test_routing_does_not_slow_down_with_the_number_of_tools() -> None:
    many = tuple(Tool(str(i), "GET", "http://a.test", f"/{i}/{{x}}") for i in range(5000))

    def fastest(tools: tuple[Tool, ...]) -> float:
        times = []
        for _ in range(200):
            start = time.perf_counter()
            route_request(get("http://a.test/4/7"), tools)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest(many) < 5 * fastest(many[:5])
