"""`/discover/movie` filter by filter, and the failures of the routes of films in the words of the service."""

import pytest
from film_world import ACTION, ANN, BEA, CAL, DAY, DRAMA, HEIST, NORTH, ROBOT, SEA, SOUTH, WAR, ask, found

from codetool.tmdb.replica import TMDBReplica


@pytest.fixture(scope="module")
def replica():
    return TMDBReplica(as_of=DAY)


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"sort_by": ""}, [1, 2, 3, 4, 5, 6, 7]),
        ({"sort_by": "popularity.asc"}, [7, 6, 5, 4, 3, 2, 1]),
        ({"sort_by": "release_date.asc"}, [7, 6, 4, 5, 3, 1, 2]),
        ({"sort_by": "release_date.desc"}, [2, 1, 3, 5, 4, 6, 7]),
        ({"sort_by": "release_date.desc", "region": "DE"}, [2, 5, 1, 3, 4, 6, 7]),
        ({"sort_by": "primary_release_date.asc"}, [7, 6, 4, 5, 3, 1, 2]),
        ({"sort_by": "primary_release_date.desc", "region": "DE"}, [2, 1, 3, 5, 4, 6, 7]),
        ({"sort_by": "revenue.desc"}, [1, 3, 2, 4, 5, 6, 7]),
        ({"sort_by": "revenue.asc"}, [2, 4, 5, 6, 7, 3, 1]),
        ({"sort_by": "original_title.asc"}, [3, 6, 7, 4, 5, 1, 2]),
        ({"sort_by": "original_title.desc"}, [2, 1, 5, 4, 7, 6, 3]),
        ({"sort_by": "vote_average.desc"}, [4, 6, 7, 1, 2, 3, 5]),
        ({"sort_by": "vote_average.asc"}, [1, 2, 3, 5, 7, 6, 4]),
        ({"sort_by": "vote_count.desc"}, [1, 2, 3, 5, 6, 7, 4]),
        ({"sort_by": "vote_count.asc"}, [4, 7, 1, 2, 3, 5, 6]),
        ({"with_genres": f"{DRAMA},{WAR}"}, [5]),
        ({"with_genres": f"{DRAMA}|{WAR}"}, [3, 4, 5, 7]),
        ({"with_genres": "999"}, []),
        ({"with_genres": ""}, [1, 2, 3, 4, 5, 6, 7]),
        ({"without_genres": f"{DRAMA},{WAR}"}, [1, 2, 6]),
        ({"without_genres": f"{DRAMA}|{WAR}"}, [1, 2, 3, 4, 6, 7]),
        ({"with_keywords": f"{HEIST},{ROBOT}"}, [2]),
        ({"with_keywords": f"{ROBOT}|{SEA}"}, [2, 5]),
        ({"without_keywords": f"{ROBOT},{SEA}"}, [1, 3, 4, 6, 7]),
        ({"with_companies": str(SOUTH)}, [4]),
        ({"without_companies": str(NORTH)}, [4, 7]),
        ({"with_cast": str(CAL)}, [3]),
        ({"with_crew": str(ANN)}, [3]),
        ({"with_people": f"{ANN},{CAL}"}, [3]),
        ({"with_people": f"{BEA}|{CAL}"}, [1, 2, 3, 4, 5, 6, 7]),
        ({"with_original_language": "fr"}, [6]),
        ({"with_runtime.gte": 101}, [2]),
        ({"with_runtime.lte": 100, "with_genres": ACTION}, [1, 4, 6]),
        ({"vote_average.gte": 7.5, "vote_average.lte": 8}, [6, 7]),
        ({"vote_count.gte": 400, "vote_count.lte": 499}, [7]),
        ({"year": 2001}, [3, 5]),
        ({"year": 2001, "region": "DE"}, [3]),
        ({"primary_release_year": 2000}, [5]),
        ({"primary_release_date.gte": "2000-12-30", "primary_release_date.lte": "2001-03-01"}, [3, 5]),
        ({"release_date.gte": "2001-01-01", "release_date.lte": "2001-12-31"}, [3, 5]),
        ({"release_date.gte": "2024-05-25", "region": "DE"}, [2, 5]),
        ({"with_release_type": "2|3"}, [1, 2, 3, 4, 5, 6, 7]),
        ({"with_release_type": "4"}, []),
        ({"certification_country": "US", "certification": "PG-13"}, [1]),
        ({"certification_country": "US", "certification": "G|R"}, [2, 7]),
        ({"certification_country": "US", "certification.lte": "PG-13"}, [1, 7]),
        ({"certification_country": "US", "certification.gte": "PG-13"}, [1, 2]),
        ({"certification_country": "US", "certification.lte": "XYZ"}, []),
        ({"certification_country": "FR", "certification": "R"}, []),
        ({"certification": "R"}, [1, 2, 3, 4, 5, 6, 7]),
        ({"include_adult": "true", "include_video": "true", "page": 1}, [1, 2, 3, 4, 5, 6, 7]),
        ({"with_genres": ACTION, "primary_release_date.gte": "2000-01-01", "vote_count.gte": ""}, [1, 2]),
        ({"watch_region": "AQ", "with_watch_providers": "8|9|15|337|350"}, []),
    ],
)
async def test_discover_keeps_and_sorts_what_is_asked_for(filters, ids):
    assert await found("/discover/movie", **filters) == ids


async def test_watch_filters_divide_the_films_and_join_each_other(replica):
    async def total(**filters):
        _, body = await ask(replica, "/discover/movie", watch_region="US", **filters)
        return body["total_results"]

    every = await total()
    netflix, rented = await total(with_watch_providers="8"), await total(with_watch_monetization_types="rent")
    assert 0 < netflix < every and 0 < rented < every
    assert await total(with_watch_providers="8", with_watch_monetization_types="rent") == 0
    assert await total(with_watch_providers="8", with_watch_monetization_types="flatrate|rent") == netflix


@pytest.mark.parametrize(
    ("path", "arguments", "status", "code"),
    [
        ("/discover/movie", {"with_genres": "Action"}, 422, 5),
        ("/discover/movie", {"with_cast": "1,,2"}, 422, 5),
        ("/discover/movie", {"sort_by": "title"}, 422, 5),
        ("/discover/movie", {"sort_by": "vote_average"}, 422, 5),
        ("/discover/movie", {"year": "last"}, 422, 5),
        ("/discover/movie", {"release_date.gte": "June 2024"}, 400, 23),
        ("/discover/movie", {"release_date.lte": "2024-02-30"}, 400, 23),
        ("/discover/movie", {"vote_average.gte": "high"}, 422, 5),
        ("/discover/movie", {"with_watch_monetization_types": "steal"}, 422, 5),
        ("/discover/movie", {"page": 0}, 400, 22),
        ("/movie/popular", {"page": 501}, 400, 22),
        ("/movie/top_rated", {"page": "one"}, 400, 22),
        ("/movie/597/similar", {"page": -1}, 400, 22),
        ("/search/company", {}, 422, 5),
        ("/movie/597", {"append_to_response": ",".join(["images"] * 21)}, 400, 27),
        ("/movie/titanic/keywords", {}, 404, 6),
        ("/company/x/images", {}, 404, 6),
        *((f"/movie/999999999/{part}", {}, 404, 34) for part in ("keywords", "reviews", "release_dates", "images")),
        *((f"/movie/999999999/{part}", {}, 404, 34) for part in ("recommendations", "similar")),
        ("/collection/999999999/images", {}, 404, 34),
        ("/company/999999999/images", {}, 404, 34),
        ("/review/5488c29bc3a3686f4a00004a", {}, 404, 34),
        ("/credit/999999999", {}, 404, 34),
    ],
)
async def test_failures_speak_the_services_words(replica, path, arguments, status, code):
    answered, body = await ask(replica, path, **arguments)
    assert (answered, body["status_code"], body["success"]) == (status, code, False)
    assert body["status_message"]
