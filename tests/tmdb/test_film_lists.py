"""Lists of films and searches: the day, the region and the language that they hang on."""

import pytest
from film_world import DAY, ask, found, small

from codetool.tmdb.app import create_app
from codetool.tmdb.replica import TMDBReplica


@pytest.fixture(scope="module")
def replica():
    return TMDBReplica(as_of=DAY)


async def test_the_latest_film_is_the_one_released_last():
    latest = await small("/movie/latest")
    assert latest == await small("/movie/1")


@pytest.mark.parametrize(
    ("path", "arguments", "dates", "ids"),
    [
        ("/movie/now_playing", {}, ("2024-04-20", "2024-06-01"), [1]),
        ("/movie/now_playing", {"region": "DE"}, ("2024-04-20", "2024-06-01"), [1, 5]),
        ("/movie/upcoming", {}, ("2024-06-02", "2024-06-29"), [2]),
    ],
)
async def test_what_is_shown_and_expected_hangs_on_the_day(path, arguments, dates, ids):
    body = await small(path, **arguments)
    assert (body["dates"]["minimum"], body["dates"]["maximum"]) == dates
    assert [entry["id"] for entry in body["results"]] == ids


async def test_popular_lists_what_is_released_by_popularity():
    assert await found("/movie/popular") == [1, 3, 4, 5, 6, 7]
    assert await found("/movie/popular", page=2) == []


async def test_few_votes_do_not_make_a_top_rated_film():
    assert await found("/movie/top_rated") == [6, 7, 1, 3, 5]


@pytest.mark.parametrize("language", ["fr", "fr-FR"])
@pytest.mark.parametrize(
    "path", ["/movie/popular", "/movie/top_rated", "/discover/movie", "/movie/4/similar", "/movie/4/recommendations"]
)
async def test_a_title_in_a_list_is_given_in_the_films_own_language_if_asked(path, language):
    titles = {entry["id"]: entry["title"] for entry in (await small(path, language=language))["results"]}
    assert titles[6] == "La Tempête" and titles[1] == "Vault"


async def test_details_speak_the_language_asked_for_if_it_is_the_films_own():
    for language, title in (("", "The Storm"), ("en-US", "The Storm"), ("de-DE", "The Storm"), ("fr-FR", "La Tempête")):
        assert (await small("/movie/6", language=language))["title"] == title


async def test_no_route_documents_the_language():
    for path, item in create_app().openapi()["paths"].items():
        if path.startswith(("/movie", "/discover/movie", "/collection", "/search")):
            assert "language" not in [parameter["name"] for parameter in item["get"].get("parameters", [])]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({"query": "ship", "year": 2001}, [5]),
        ({"query": "ship", "year": 2001, "region": "DE"}, []),
        ({"query": "ship", "year": 2024, "region": "DE"}, [5]),
        ({"query": "ship", "primary_release_year": 2000, "region": "DE"}, [5]),
        ({"query": "ship", "primary_release_year": 2001}, []),
    ],
)
async def test_a_year_counts_releases_of_the_region_and_a_primary_year_the_first(arguments, ids):
    assert await found("/search/movie", **arguments) == ids


async def test_a_region_gives_its_release_date():
    (ship,) = (await small("/search/movie", query="ship", region="GB"))["results"]
    assert ship["release_date"] == "2001-02-03"


async def test_companies_are_found_by_name_the_one_with_the_most_popular_film_first(replica):
    _, body = await ask(replica, "/search/company", query="disney")
    assert body["results"][0]["name"] == "Walt Disney Pictures"
    assert [entry["name"] for entry in (await small("/search/company", query="s"))["results"]] == ["South"]


async def test_genre_lists_are_apart(replica):
    _, films = await ask(replica, "/genre/movie/list")
    _, shows = await ask(replica, "/genre/tv/list")
    assert {"id": 878, "name": "Science Fiction"} in films["genres"]
    assert {"id": 10765, "name": "Sci-Fi & Fantasy"} in shows["genres"]
    assert len(films["genres"]) == 19 and len(shows["genres"]) == 16
