"""What the replica answers about shows, networks and people."""

from datetime import date

import pytest
from show_world import NAMES, ask, body, ids, names, small_app


@pytest.fixture(scope="module")
def app():
    return small_app()


async def test_on_the_air_lists_shows_with_an_episode_within_a_week(app):
    assert await ids(app, "/tv/on_the_air") == [2, 3]
    assert await ids(small_app(date(2024, 6, 9)), "/tv/on_the_air") == [2]
    assert await ids(small_app(date(2024, 6, 16)), "/tv/on_the_air") == []


async def test_airing_today_lists_shows_with_an_episode_today(app):
    assert await ids(app, "/tv/airing_today") == [2, 3]
    assert await ids(small_app(date(2024, 6, 2)), "/tv/airing_today") == [3]


async def test_top_rated_is_ordered_by_rating_and_leaves_out_rarely_rated_shows(app):
    assert await ids(app, "/tv/top_rated") == [2, 1, 5, 4]


async def test_shows_that_have_not_begun_are_not_rated_yet():
    assert await ids(small_app(date(2020, 6, 1)), "/tv/top_rated") == [1, 5, 4]


async def test_the_latest_show_is_the_one_that_began_last(app):
    assert (await body(app, "/tv/latest"))["id"] == 3
    assert (await body(small_app(date(2023, 1, 1)), "/tv/latest"))["id"] == 1
    assert (await ask(small_app(date(2001, 1, 1)), "/tv/latest"))[0] == 404


async def test_makers_and_guests_are_known_for_their_shows(app):
    people = {person["name"]: person["known_for"] for person in (await body(app, "/person/popular"))["results"]}
    for name in ("Finn Maker", "Eve Writer", "Cleo Guest", "Gus Composer"):
        assert names(people[name]) == ["Long"]


async def test_people_are_listed_by_popularity_with_what_they_are_known_for(app):
    found = await body(app, "/person/popular")
    assert names(found["results"]) == list(reversed(NAMES)) and found["total_results"] == len(NAMES)
    assert names(found["results"][-1]["known_for"])[0] == "Long"


async def test_a_shows_keywords_are_results(app):
    assert await body(app, "/tv/1/keywords") == {
        "id": 1,
        "results": [{"id": 501, "name": "island"}, {"id": 502, "name": "clock"}],
    }


async def test_a_shows_first_poster_is_the_one_that_its_details_name(app):
    details, images = await body(app, "/tv/1"), await body(app, "/tv/1/images")
    assert set(images) == {"backdrops", "id", "logos", "posters"}
    assert images["posters"][0]["file_path"] == details["poster_path"]
    assert images["backdrops"][0]["file_path"] == details["backdrop_path"]


async def test_image_languages_are_kept(app):
    found = await body(app, "/tv/1/images", include_image_language="en")
    assert {image["iso_639_1"] for image in found["posters"]} == {"en"}


async def test_reviews_are_synthetic_and_say_so(app):
    numbers = [(await body(app, f"/tv/{number}/reviews"))["total_results"] for number in (1, 2, 4, 5)]
    reviewed = [n for n, count in zip((1, 2, 4, 5), numbers, strict=True) if count][0]
    found = await body(app, f"/tv/{reviewed}/reviews")
    assert found["id"] == reviewed and all("synthetic" in review["content"] for review in found["results"])


async def test_similar_and_recommended_shows_do_not_hold_the_show_itself(app):
    assert 1 not in await ids(app, "/tv/1/similar") and 1 not in await ids(app, "/tv/1/recommendations")
    assert await ids(app, "/tv/4/similar")
    assert {entry["media_type"] for entry in (await body(app, "/tv/1/recommendations"))["results"]} == {"tv"}


async def test_the_last_and_the_next_episode_lie_around_today(app):
    found = await body(app, "/tv/2")
    assert (found["last_episode_to_air"]["name"], found["last_episode_to_air"]["air_date"]) == ("Two", "2024-06-01")
    assert (found["next_episode_to_air"]["name"], found["next_episode_to_air"]["air_date"]) == ("Three", "2024-06-08")
    assert found["last_air_date"] == "2024-06-01"


async def test_an_ended_show_has_no_next_episode(app):
    found = await body(app, "/tv/1")
    assert found["next_episode_to_air"] is None and not found["in_production"]
    assert (found["last_episode_to_air"]["name"], found["last_air_date"]) == ("End", "2021-01-08")
    assert found["last_episode_to_air"]["episode_type"] == "finale"


async def test_a_show_that_has_not_begun_has_no_last_episode():
    found = await body(small_app(date(2019, 1, 1)), "/tv/1")
    assert found["last_episode_to_air"] is None and found["last_air_date"] is None
    assert found["next_episode_to_air"]["name"] == "Pilot"


@pytest.mark.parametrize("language", ["ko", "ko-KR"])
async def test_a_name_is_given_in_the_shows_own_language(app, language):
    assert (await body(app, "/tv/4", language=language))["name"] == "열차"


async def test_a_networks_details(app):
    found = await body(app, "/network/7")
    assert (found["name"], found["headquarters"], found["homepage"], found["origin_country"]) == (
        "Alpha",
        "New York City, New York",
        "https://alpha.example",
        "US",
    )


async def test_a_networks_first_logo_is_the_one_that_its_details_name(app):
    details, images = await body(app, "/network/7"), await body(app, "/network/7/images")
    assert images["logos"][0]["file_path"] == details["logo_path"] and details["logo_path"].endswith(".png")
    assert "iso_639_1" not in images["logos"][0]


async def test_a_persons_first_photo_is_the_one_that_the_details_name(app):
    details, images = await body(app, "/person/1"), await body(app, "/person/1/images")
    assert images["profiles"][0]["file_path"] == details["profile_path"] and set(images) == {"id", "profiles"}


async def parts(app, number):
    found = await body(app, f"/person/{number}/tv_credits")
    cast = [(entry["name"], entry["character"], entry["episode_count"]) for entry in found["cast"]]
    return cast, [(entry["name"], entry["job"], entry["episode_count"]) for entry in found["crew"]]


async def test_a_lead_has_a_part_in_every_episode_without_a_cast_of_its_own(app):
    cast, crew = await parts(app, 1)
    assert ("Long", "Ada", 5) in cast and not crew


async def test_a_guest_has_one_credit_with_all_characters(app):
    assert (await parts(app, 3))[0] == [("Long", "A stranger / The stranger's twin", 2)]


async def test_a_role_in_an_anthology_counts_its_episodes(app):
    assert ("Tales", "A king", 1) in (await parts(app, 2))[0]


@pytest.mark.parametrize(
    ("number", "jobs"),
    [
        (4, [("Long", "Director", 4), ("Long", "Writer", 1)]),
        (5, [("Long", "Writer", 1)]),
        (6, [("Long", "Creator", 5)]),
        (7, [("Long", "Original Music Composer", 5)]),
        (8, [("Long", "Director", 1)]),
    ],
)
async def test_jobs_count_their_episodes(app, number, jobs):
    assert (await parts(app, number))[1] == jobs


async def test_a_credit_has_the_same_id_wherever_it_is_listed(app):
    own = (await body(app, "/person/4/tv_credits"))["crew"][0]["credit_id"]
    crew = (await body(app, "/tv/1/season/1/episode/3/credits"))["crew"]
    assert [member["credit_id"] for member in crew] == [own]
    role = (await body(app, "/person/1/tv_credits"))["cast"][0]["credit_id"]
    assert role == (await body(app, "/tv/1/credits"))["cast"][0]["credit_id"]
    assert role == (await body(app, "/tv/1/season/1/credits"))["cast"][0]["credit_id"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(("/tv/1", part) for part in ("credits", "images", "keywords", "recommendations", "reviews", "similar")),
        ("/tv/1", "season/2"),
        ("/tv/1/season/1", "credits"),
        ("/tv/1/season/1", "images"),
        ("/tv/1/season/1/episode/1", "credits"),
        ("/tv/1/season/1/episode/1", "images"),
        ("/person/4", "images"),
        ("/person/4", "movie_credits"),
        ("/person/4", "tv_credits"),
    ],
)
async def test_details_append_what_the_parts_own_route_answers(app, path, name):
    alone, part = await body(app, path), await body(app, f"{path}/{name}")
    part.pop("id", None)
    assert await body(app, path, append_to_response=f"{name},nothing") == alone | {name: part}
