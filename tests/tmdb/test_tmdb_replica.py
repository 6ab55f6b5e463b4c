"""The replica behaves like the service where tasks can see it."""

import json
import re
import time
from datetime import date

import pytest
from pydantic import ValidationError

from codetool.interfaces import ToolSource
from codetool.tmdb.app import create_app
from codetool.tmdb.asgi_client import build_scope, fetch
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.replica import TMDBReplica, load_app
from codetool.tmdb.store import load_store
from codetool.types import Parameter, Tool, ToolCall

SERVER = "https://api.themoviedb.org/3"
MOVIE_PARTS = ("credits", "images", "keywords", "recommendations", "release_dates", "reviews", "similar")
SHOW_PARTS = ("credits", "images", "keywords", "recommendations", "reviews", "similar")


@pytest.fixture(scope="module")
def replica():
    return TMDBReplica(as_of=date(2024, 6, 1))


async def ask(replica, path, **arguments):
    answer = await replica.answer(ToolCall("GET", SERVER + path, arguments))
    return answer.status, json.loads(answer.body)


async def titles(replica, path, **arguments):
    _, body = await ask(replica, path, **arguments)
    return [entry.get("title", entry.get("name")) for entry in body["results"]]


@pytest.mark.parametrize(
    ("path", "query", "first"),
    [
        ("/search/movie", "TITANIC", "Titanic"),
        ("/search/movie", "double life of veronique", "The Double Life of Véronique"),
        ("/search/movie", "La Double Vie de Véronique", "The Double Life of Véronique"),
        ("/search/movie", "dark knight", "The Dark Knight"),
        ("/search/movie", "The Dark Knight", "The Dark Knight"),
        ("/search/movie", "Lord of the Ring", "The Lord of the Rings: The Fellowship of the Ring"),
        ("/search/movie", "Avatar", "Avatar"),
        ("/search/movie", "schindlers list", "Schindler's List"),
        ("/search/movie", "七人の侍", "Seven Samurai"),
        ("/search/movie", "An Avatar", "Avatar"),
        ("/search/movie", "ET", "E.T. the Extra-Terrestrial"),
        ("/search/movie", "e.t. extra", "E.T. the Extra-Terrestrial"),
        ("/search/person", "JK Simmons", "J.K. Simmons"),
        ("/search/person", "j. j. abrams", "J.J. Abrams"),
        ("/search/person", "song kangho", "Song Kang-ho"),
        ("/search/tv", "mandalorian", "The Mandalorian"),
        ("/search/tv", "We Married as Job", "We Married as a Job!"),
        ("/search/tv", "shogun", "Shōgun"),
        ("/search/person", "alfonso cuaron", "Alfonso Cuarón"),
        ("/search/person", "nolan", "Christopher Nolan"),
        ("/search/collection", "Lord of the Rings", "The Lord of the Rings Collection"),
        ("/search/collection", "star wars", "Star Wars Collection"),
    ],
)
async def test_search_finds_what_is_meant_first(replica, path, query, first):
    assert (await titles(replica, path, query=query))[0] == first


async def test_each_word_of_a_search_needs_a_word_of_its_own(replica):
    assert await titles(replica, "/search/movie", query="avatar avatar") == []
    assert await titles(replica, "/search/movie", query="fast fast") == []
    assert await titles(replica, "/search/movie", query="2 2") == ["2 Fast 2 Furious"]


async def test_search_without_words_finds_nothing(replica):
    assert await titles(replica, "/search/movie", query=" ?! ") == []


@pytest.mark.parametrize("ignored", [{"language": "fr-FR"}, {"include_adult": "true"}, {"colour": "red"}])
async def test_parameters_that_change_nothing_here_are_ignored(replica, ignored):
    assert await ask(replica, "/search/movie", query="star", **ignored) == await ask(
        replica, "/search/movie", query="star"
    )


async def test_search_finds_nothing_for_a_misspelt_word(replica):
    assert await titles(replica, "/search/movie", query="Redemptionn") == []


async def test_search_orders_by_popularity(replica):
    _, body = await ask(replica, "/search/movie", query="star")
    popularity = [entry["popularity"] for entry in body["results"]]
    assert len(popularity) > 3 and popularity == sorted(popularity, reverse=True)


@pytest.mark.parametrize("name", ["year", "primary_release_year"])
async def test_a_year_keeps_films_of_that_year(replica, name):
    _, body = await ask(replica, "/search/movie", query="Dune", **{name: 1984})
    assert [entry["id"] for entry in body["results"]] == [841]


async def test_a_first_air_date_year_keeps_shows_of_that_year(replica):
    assert await titles(replica, "/search/tv", query="Fargo", first_air_date_year=2014) == ["Fargo"]
    assert await titles(replica, "/search/tv", query="Fargo", first_air_date_year=2015) == []


async def test_pages_hold_twenty_and_join_without_a_gap(replica):
    _, first = await ask(replica, "/tv/popular")
    pages = [(await ask(replica, "/tv/popular", page=page))[1] for page in range(1, first["total_pages"] + 1)]
    ids = [entry["id"] for page in pages for entry in page["results"]]
    assert {len(page["results"]) for page in pages[:-1]} == {20} and [page["page"] for page in pages[:2]] == [1, 2]
    assert len(ids) == len(set(ids)) == first["total_results"] > 40


async def test_a_page_past_the_end_is_empty(replica):
    _, body = await ask(replica, "/tv/popular", page=400)
    assert body["results"] == [] and body["total_results"] > 0


@pytest.mark.parametrize(
    ("path", "arguments", "status", "code"),
    [
        ("/movie/999999999", {}, 404, 34),
        ("/movie/999999999/credits", {}, 404, 34),
        ("/collection/999999999", {}, 404, 34),
        ("/company/999999999", {}, 404, 34),
        ("/person/999999999", {}, 404, 34),
        ("/tv/999999999", {}, 404, 34),
        ("/movie/titanic", {}, 404, 6),
        ("/trending/movie/month", {}, 422, 5),
        ("/trending/books/day", {}, 422, 5),
        ("/person/0x2", {}, 404, 6),
        ("/search/movie", {}, 422, 5),
        ("/search/movie", {"query": ""}, 422, 5),
        ("/search/movie", {"query": "Jaws", "page": 0}, 400, 22),
        ("/search/movie", {"query": "Jaws", "page": "two"}, 400, 22),
        ("/tv/popular", {"page": 501}, 400, 22),
    ],
)
async def test_failures_speak_the_services_words(replica, path, arguments, status, code):
    answered, body = await ask(replica, path, **arguments)
    assert (answered, body["status_code"], body["success"]) == (status, code, False)
    assert body["status_message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
async def test_other_methods_than_get_are_not_supported(replica, method):
    answer = await replica.answer(ToolCall(method, f"{SERVER}/movie/597", {}))
    assert (answer.status, json.loads(answer.body)["status_code"]) == (405, 42)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("/movie/597", name) for name in MOVIE_PARTS),
        *(("/tv/1396", name) for name in SHOW_PARTS),
        *(("/person/525", name) for name in ("images", "movie_credits", "tv_credits")),
        *(("/tv/1396/season/1", name) for name in ("credits", "images")),
        *(("/tv/1396/season/1/episode/1", name) for name in ("credits", "images")),
        ("/company/1", "images"),
        ("/collection/10", "images"),
        ("/network/49", "images"),
    ],
)
async def test_details_append_what_their_own_routes_answer(replica, path, name):
    _, alone = await ask(replica, path)
    _, part = await ask(replica, f"{path}/{name}")
    _, both = await ask(replica, path, append_to_response=f"videos, {name}")
    part.pop("id", None)
    assert both == alone | {name: part}
    assert await ask(replica, path, append_to_response="videos") == (200, alone)


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/movie/tt0137523", "/movie/550"),
        ("/movie/tt0137523/credits", "/movie/550/credits"),
        ("/movie/tt0468569/keywords", "/movie/155/keywords"),
    ],
)
async def test_a_film_may_be_named_by_its_id_at_imdb(replica, path, own):
    found = await ask(replica, path, append_to_response="credits")
    assert found[0] == 200 and found == await ask(replica, own, append_to_response="credits")


async def test_details_name_the_id_at_imdb_where_it_is_known(replica):
    assert (await ask(replica, "/movie/550"))[1]["imdb_id"] == "tt0137523"
    ids = [movie.imdb_id for movie in load_store().movies.values() if movie.imdb_id]
    assert len(ids) == len(set(ids)) > 150 and all(re.fullmatch(r"tt\d{7,8}", number) for number in ids)


@pytest.mark.parametrize("path", ["/movie/tt9999999", "/movie/tt9999999/credits"])
async def test_an_id_at_imdb_that_no_film_has_is_not_found(replica, path):
    status, body = await ask(replica, path)
    assert (status, body["status_code"]) == (404, 34)


async def test_a_show_and_a_person_have_no_id_at_imdb(replica):
    for path in ("/tv/tt0903747", "/person/nm0000093"):
        assert (await ask(replica, path))[0] != 200


async def test_shows_of_a_person_tell_when_a_credit_first_aired(replica):
    _, found = await ask(replica, "/search/person", query="Bryan Cranston")
    _, shows = await ask(replica, f"/person/{found['results'][0]['id']}/tv_credits")
    role = next(entry for entry in shows["cast"] if entry["name"] == "Breaking Bad")
    assert role["first_credit_air_date"] == role["first_air_date"] == "2008-01-20"
    for entry in shows["cast"] + shows["crew"]:
        assert entry["first_credit_air_date"] >= entry["first_air_date"]
    director = next(entry for entry in shows["crew"] if entry["name"] == "Breaking Bad" and entry["job"] == "Director")
    assert director["first_credit_air_date"] > director["first_air_date"]


async def test_creators_have_an_original_name(replica):
    _, show = await ask(replica, "/tv/1396")
    assert [entry["original_name"] for entry in show["created_by"]] == ["Vince Gilligan"]


async def test_people_have_their_other_names(replica):
    _, found = await ask(replica, "/search/person", query="Natalie Portman")
    assert (await ask(replica, f"/person/{found['results'][0]['id']}"))[1]["also_known_as"] == ["Natalie Hershlag"]


async def test_an_id_may_be_given_as_text(replica):
    tool = Tool("GET_tv_tv_id", "GET", SERVER, "/tv/{id}", parameters=(Parameter("id", "path", "integer", True),))
    answer = await replica.answer(ToolCall("GET", f"{SERVER}/tv/1396", {"id": "1396"}, tool))
    assert answer.ok


async def test_nothing_trends_before_its_release(replica):
    earlier = TMDBReplica(as_of=date(2024, 5, 1))
    assert (await titles(replica, "/trending/movie/day"))[0] == "Furiosa: A Mad Max Saga"
    assert "Furiosa: A Mad Max Saga" not in await titles(earlier, "/trending/movie/day")
    _, furiosa = await ask(earlier, "/movie/786892")
    assert furiosa["status"] != "Released"


async def test_trending_all_mixes_kinds_and_names_them(replica):
    _, body = await ask(replica, "/trending/all/week")
    assert {"movie", "tv"} <= {entry["media_type"] for entry in body["results"]}


async def test_a_filmography_counts_what_was_directed(replica):
    _, body = await ask(replica, "/person/1769/movie_credits")
    assert sum(entry["job"] == "Director" for entry in body["crew"]) == 8
    assert "The Godfather" in [entry["title"] for entry in body["cast"]]


async def test_facts_of_a_show(replica):
    _, body = await ask(replica, "/tv/39340")
    assert (body["number_of_seasons"], body["number_of_episodes"]) == (6, 138)


async def test_overviews_do_not_give_credits_away(replica):
    _, body = await ask(replica, "/movie/597")
    assert "Cameron" not in body["overview"] and "DiCaprio" not in body["overview"]


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "https://example.org/3/movie/597"),
        ("GET", "https://api.themoviedb.org/4/list/1"),
        ("GET", f"{SERVER}/movie/597/nothing"),
        ("GET", f"{SERVER}/keyword/1"),
        ("POST", f"{SERVER}/movie/597/rating"),
    ],
)
async def test_what_it_has_no_route_for_is_left_to_others(replica, method, url):
    call = ToolCall(method, url, {})
    assert await replica.answer(call) is None
    assert replica.endpoint(call) is None


async def test_path_arguments_are_not_sent_twice(replica):
    tool = Tool("GET_tv_tv_id", "GET", SERVER, "/tv/{id}", parameters=(Parameter("id", "path", "integer", True),))
    answer = await replica.answer(ToolCall("GET", f"{SERVER}/tv/1396", {"id": 1396}, tool))
    assert answer.ok and json.loads(answer.body)["name"] == "Breaking Bad"


@pytest.mark.parametrize(("path", "template"), [("/movie/1", "/movie/{movie_id}"), ("/search/movie", "/search/movie")])
def test_the_endpoint_that_answers_a_call_is_known(replica, path, template):
    assert replica.endpoint(ToolCall("GET", SERVER + path, {})) == f"GET {template}"


async def test_answers_say_where_they_come_from(replica):
    answer = await replica.answer(ToolCall("GET", f"{SERVER}/movie/597", {}))
    assert answer.provenance == "replica" and answer.ok and answer.seconds >= 0


async def test_two_replicas_answer_alike():
    bodies = []
    for _ in range(2):
        load_app.cache_clear()
        source: ToolSource = TMDBReplica(as_of=date(2024, 6, 1))
        answer = await source.answer(ToolCall("GET", f"{SERVER}/search/movie", {"query": "the"}))
        bodies.append(answer.body)
    assert bodies[0] == bodies[1]


async def test_a_key_is_demanded_only_where_asked_for():
    app = create_app(Catalog(load_store(), date(2024, 6, 1)), require_key=True)
    bare = build_scope("GET", SERVER, "/movie/597", {})
    assert (await fetch(app, bare)).status == 401
    assert (await fetch(app, build_scope("GET", SERVER, "/movie/597", {"api_key": "k"}))).status == 200
    assert (await fetch(app, bare | {"headers": [(b"authorization", b"Bearer k")]})).status == 200


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        TMDBReplica(as_of=date(2024, 6, 1), size=3)


def test_the_data_loads_in_a_moment():
    started = time.process_time()
    load_store()
    assert time.process_time() - started < 1  # a tenth of a second on a quiet machine


async def test_it_answers_hundreds_of_searches_a_second(replica):
    await ask(replica, "/search/movie", query="star")
    started = time.process_time()  # others may share this machine
    for _ in range(500):
        await ask(replica, "/search/movie", query="star")
    assert 500 / (time.process_time() - started) > 600
