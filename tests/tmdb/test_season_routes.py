"""What the replica answers about seasons and episodes."""

from dataclasses import replace
from datetime import date

import pytest
from show_world import TODAY, body, names, show, small_app, store

from codetool.tmdb.app import create_app
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Episode


@pytest.fixture(scope="module")
def app():
    return small_app()


async def test_a_season_lists_all_its_episodes_with_what_is_known(app):
    found = await body(app, "/tv/1/season/1")
    assert (found["name"], found["air_date"], found["season_number"]) == ("Season 1", "2020-01-01", 1)
    assert names(found["episodes"]) == ["Pilot", "Episode 2", "Third"]
    assert [episode["air_date"] for episode in found["episodes"]] == ["2020-01-01", None, "2020-01-15"]
    assert [names(episode["crew"]) for episode in found["episodes"]] == [
        ["Dan Director", "Eve Writer", "Dan Director"],
        [],
        ["Dan Director"],
    ]
    assert names(found["episodes"][0]["guest_stars"]) == ["Cleo Guest"]
    assert {episode["runtime"] for episode in found["episodes"]} == {50} and names(found["networks"]) == ["Alpha"]


async def test_the_last_episode_of_a_show_airs_on_its_last_day(app):
    assert (await body(app, "/tv/2/season/1"))["episodes"][3]["air_date"] == "2024-06-15"


async def days(*known, seasons, last, **more):
    """Air dates of all episodes of a show, season by season, where the days of a few (season, number) are known."""
    episodes = {
        (1, season, number): Episode(show=1, season=season, number=number, name="", air_date=day)
        for season, number, day in known
    }
    alone = replace(store(), shows={1: show(1, "Alone", seasons, last, **more)}, episodes=episodes)
    app = create_app(Catalog(alone, TODAY))
    found = [await body(app, f"/tv/1/season/{number}") for number in range(1, len(seasons) + 1)]
    return [[episode["air_date"] for episode in season["episodes"]] for season in found]


async def test_the_last_day_is_that_of_the_latest_season_begun():
    announced = [("2022-01-01", 3), ("2024-07-01", 2)]
    assert await days(seasons=announced, last="2022-02-02", status="Returning Series") == [
        ["2022-01-01", None, "2022-02-02"],
        ["2024-07-01", None],
    ]


async def test_a_season_that_goes_on_does_not_end_on_the_day_of_another_episode():
    weekly = {"seasons": [("2024-05-11", 4)], "last": "2024-05-25"}
    goes_on = await days((1, 3, "2024-05-25"), **weekly, status="Returning Series")
    assert goes_on == [["2024-05-11", None, "2024-05-25", None]]
    assert (await days((1, 3, "2024-05-25"), **weekly, status="Ended"))[0][3] == "2024-05-25"


async def test_a_season_with_a_later_day_does_not_end_on_the_last_one():
    assert await days((1, 3, "2024-06-13"), seasons=[("2024-05-16", 4)], last="2024-05-16") == [
        ["2024-05-16", None, "2024-06-13", None]
    ]


async def test_a_show_to_come_has_no_last_day():
    assert await days(seasons=[("2024-07-01", 2)], last="") == [["2024-07-01", None]]


async def test_episodes_between_two_of_one_day_air_on_that_day(app):
    found = await body(app, "/tv/4/season/1")
    assert [episode["air_date"] for episode in found["episodes"]] == ["2019-03-03"] * 3


async def test_overviews_of_episodes_differ_and_say_that_they_are_synthetic(app):
    texts = [episode["overview"] for n in (1, 2) for episode in (await body(app, f"/tv/1/season/{n}"))["episodes"]]
    assert len(set(texts)) == 5 and all(text.startswith("Synthetic") for text in texts)


async def test_an_episode_that_has_not_aired_has_no_votes(app):
    counts = [episode["vote_count"] for episode in (await body(app, "/tv/2/season/1"))["episodes"]]
    assert all(counts[:2]) and counts[2:] == [0, 0]
    earlier = await body(small_app(date(2020, 6, 1)), "/tv/1/season/2")
    assert [episode["vote_count"] for episode in earlier["episodes"]] == [0, 0] and earlier["vote_average"] == 0


async def test_ids_of_seasons_and_episodes_are_unique(app):
    seasons = [await body(app, f"/tv/{n}/season/{s}") for n, s in ((1, 1), (1, 2), (2, 1), (3, 1), (4, 1), (5, 1))]
    numbers = [episode["id"] for season in seasons for episode in season["episodes"]]
    assert len({season["id"] for season in seasons}) == 6 and len(set(numbers)) == len(numbers)
    assert [season["id"] for season in (await body(app, "/tv/1"))["seasons"]] == [s["id"] for s in seasons[:2]]


async def test_season_credits_name_directors_only_where_every_episode_is_theirs(app):
    first, second = await body(app, "/tv/1/season/1/credits"), await body(app, "/tv/1/season/2/credits")
    assert names(first["cast"]) == ["Ann Lead", "Bob Second"]
    assert [(member["name"], member["job"]) for member in first["crew"]] == [
        ("Gus Composer", "Original Music Composer")
    ]
    assert ("Dan Director", "Director") in [(member["name"], member["job"]) for member in second["crew"]]


async def test_the_season_of_an_anthology_has_the_casts_of_its_episodes(app):
    assert names((await body(app, "/tv/5/season/1/credits"))["cast"]) == ["Bob Second", "Hal Other"]


async def test_a_seasons_posters(app):
    season, images = await body(app, "/tv/1/season/2"), await body(app, "/tv/1/season/2/images")
    assert images["id"] == season["id"] and images["posters"][0]["file_path"] == season["poster_path"]


async def test_an_episodes_details(app):
    found = await body(app, "/tv/1/season/1/episode/1")
    assert (found["name"], found["air_date"], found["season_number"], found["episode_number"]) == (
        "Pilot",
        "2020-01-01",
        1,
        1,
    )
    assert [member["job"] for member in found["crew"]] == ["Director", "Writer", "Writer"]


async def test_an_episodes_credits_tell_cast_crew_and_guests_apart(app):
    found = await body(app, "/tv/1/season/1/episode/1/credits")
    assert names(found["cast"]) == ["Ann Lead", "Bob Second"] and names(found["guest_stars"]) == ["Cleo Guest"]
    assert names(found["crew"]) == ["Dan Director", "Eve Writer", "Dan Director"]
    assert [member["order"] for member in found["cast"] + found["guest_stars"]] == [0, 1, 2]


async def test_an_episode_with_a_cast_of_its_own_has_no_other(app):
    found = await body(app, "/tv/5/season/1/episode/2/credits")
    assert [(member["name"], member["character"]) for member in found["cast"]] == [("Hal Other", "A thief")]


async def test_an_episodes_first_still_is_the_one_that_its_details_name(app):
    details, images = await body(app, "/tv/1/season/2/episode/1"), await body(app, "/tv/1/season/2/episode/1/images")
    assert images["stills"][0]["file_path"] == details["still_path"] and images["id"] == details["id"]
    assert set(images) == {"id", "stills"}
