"""`/discover/tv` filter by filter, and the failures of the routes of shows, networks and people."""

import pytest
from show_world import ask, body, ids, names, small_app


@pytest.fixture(scope="module")
def app():
    return small_app()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"sort_by": "popularity.asc"}, [2, 3, 4, 5, 1]),
        ({"sort_by": "vote_average.desc"}, [2, 1, 3, 5, 4]),
        ({"sort_by": "vote_average.asc"}, [4, 1, 3, 5, 2]),
        ({"sort_by": "first_air_date.desc"}, [3, 2, 1, 4, 5]),
        ({"sort_by": "first_air_date.asc"}, [5, 4, 1, 2, 3]),
        ({"sort_by": ""}, [1, 2, 3, 4, 5]),
        ({"air_date.gte": "2024-06-01"}, [2, 3]),
        ({"air_date.lte": "2019-12-31"}, [4, 5]),
        ({"air_date.gte": "2021-01-01", "air_date.lte": "2021-12-31"}, [1]),
        ({"first_air_date.gte": "2021-01-01", "first_air_date.lte": "2021-12-31"}, []),
        ({"first_air_date.gte": "2020-01-01"}, [1, 2, 3]),
        ({"first_air_date.lte": "2019-03-03"}, [4, 5]),
        ({"first_air_date_year": 2024}, [2, 3]),
        ({"timezone": "Asia/Seoul"}, [1, 2, 3, 4, 5]),
        ({"vote_average.gte": 8.5}, [2]),
        ({"vote_count.gte": 151}, [1, 2, 4, 5]),
        ({"with_genres": "18,80"}, [1]),
        ({"with_genres": "18|80"}, [1, 2, 3, 4, 5]),
        ({"with_genres": "80"}, [1, 5]),
        ({"without_genres": "80"}, [2, 3, 4]),
        ({"with_networks": "8"}, [4]),
        ({"with_networks": "7|8"}, [1, 2, 3, 4, 5]),
        ({"with_networks": "7,8"}, []),
        ({"with_runtime.gte": 40}, [1, 3, 4, 5]),
        ({"with_runtime.lte": 40}, [2]),
        ({"include_null_first_air_dates": True}, [1, 2, 3, 4, 5]),
        ({"with_original_language": "ko"}, [4]),
        ({"with_keywords": "501"}, [1, 4]),
        ({"with_keywords": "501,502"}, [1]),
        ({"without_keywords": "502"}, [2, 3, 4, 5]),
        ({"screened_theatrically": True}, []),
        ({"screened_theatrically": False}, [1, 2, 3, 4, 5]),
        ({"with_companies": "1,2"}, [4]),
        ({"without_companies": "2"}, [1, 2, 3, 5]),
        ({"with_status": "0"}, [2, 3]),
        ({"with_status": "3"}, [1, 4]),
        ({"with_status": "4"}, [5]),
        ({"with_status": "0|4"}, [2, 3, 5]),
        ({"with_type": "3"}, [3]),
        ({"with_type": "2|3"}, [3, 4]),
        ({"with_type": "4"}, [1, 2, 5]),
        ({"page": 2}, []),
        ({"with_genres": "18", "with_status": "3", "with_original_language": "ko"}, [4]),
    ],
)
async def test_discover_keeps_what_passes_every_filter(app, query, found):
    assert await ids(app, "/discover/tv", **query) == found


async def test_discover_finds_where_shows_can_be_watched(app):
    everywhere = await ids(app, "/discover/tv", watch_region="US")
    offered = {
        way: await ids(app, "/discover/tv", watch_region="US", with_watch_monetization_types=way)
        for way in ("flatrate", "free", "ads", "rent", "buy")
    }
    assert everywhere == [1, 2, 3, 4, 5] and any(0 < len(found) < 5 for found in offered.values())
    by_provider = [await ids(app, "/discover/tv", watch_region="US", with_watch_providers=n) for n in (8, 9, 15, 337)]
    assert any(0 < len(found) < 5 for found in by_provider)
    assert await ids(app, "/discover/tv", watch_region="XX", with_watch_providers="8|9|15|337") == []


async def test_discover_answers_in_a_shows_own_language(app):
    found = await body(app, "/discover/tv", with_original_language="ko", language="ko-KR")
    assert names(found["results"]) == ["열차"]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        *((f"/tv/9/{part}", {}, 404, 34) for part in ("images", "keywords", "reviews", "similar", "recommendations")),
        ("/tv/9/season/1", {}, 404, 34),
        ("/tv/1/season/0", {}, 404, 34),
        ("/tv/1/season/3", {}, 404, 34),
        ("/tv/1/season/3/credits", {}, 404, 34),
        ("/tv/1/season/3/images", {}, 404, 34),
        ("/tv/1/season/1/episode/0", {}, 404, 34),
        ("/tv/1/season/1/episode/4", {}, 404, 34),
        ("/tv/1/season/3/episode/1", {}, 404, 34),
        ("/tv/1/season/1/episode/4/credits", {}, 404, 34),
        ("/tv/1/season/1/episode/4/images", {}, 404, 34),
        ("/tv/1/season/one", {}, 404, 6),
        ("/tv/long/images", {}, 404, 6),
        ("/network/9", {}, 404, 34),
        ("/network/9/images", {}, 404, 34),
        ("/person/99/images", {}, 404, 34),
        ("/person/99/tv_credits", {}, 404, 34),
        ("/tv/top_rated", {"page": 0}, 400, 22),
        ("/person/popular", {"page": 501}, 400, 22),
        ("/discover/tv", {"page": 0}, 400, 22),
        ("/discover/tv", {"sort_by": "colour.desc"}, 422, 5),
        ("/discover/tv", {"with_genres": "Drama"}, 422, 5),
        ("/discover/tv", {"air_date.gte": "June"}, 400, 23),
        ("/discover/tv", {"first_air_date.lte": "2024-02-30"}, 400, 23),
        ("/discover/tv", {"with_status": "Ended"}, 422, 5),
        ("/discover/tv", {"with_watch_monetization_types": "stolen"}, 422, 5),
        ("/discover/tv", {"vote_average.gte": "good"}, 422, 5),
    ],
)
async def test_failures_are_the_services(app, path, query, status, code):
    answered, found = await ask(app, path, **query)
    assert (answered, found["status_code"], found["success"]) == (status, code, False)
