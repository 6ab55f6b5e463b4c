"""What belongs to a film, collection or company: keywords, images, reviews, credits, what is similar to it."""

import pytest
from film_world import DAY, HEIST, ROBOT, ask, found, small

from codetool.tmdb.replica import TMDBReplica
from codetool.tmdb.store import load_store


@pytest.fixture(scope="module")
def replica():
    return TMDBReplica(as_of=DAY)


async def test_keywords_of_a_film_stand_under_keywords():
    assert await small("/movie/2/keywords") == {
        "id": 2,
        "keywords": [{"id": HEIST, "name": "heist"}, {"id": ROBOT, "name": "robot"}],
    }


async def test_release_dates_name_country_certification_and_type():
    released = {
        entry["iso_3166_1"]: entry["release_dates"] for entry in (await small("/movie/5/release_dates"))["results"]
    }
    assert {country: days[0]["release_date"] for country, days in released.items()} == {
        "US": "2000-12-30T00:00:00.000Z",
        "GB": "2001-02-03T00:00:00.000Z",
        "DE": "2024-05-30T00:00:00.000Z",
    }
    (country,) = (await small("/movie/1/release_dates"))["results"]
    assert [(day["certification"], day["type"]) for day in country["release_dates"]] == [("PG-13", 3)]


async def test_similar_films_share_the_subject_and_recommended_ones_the_makers():
    assert await found("/movie/5/similar") == [3, 7, 4]  # Drama alone is closer than War with Action
    assert (await found("/movie/4/recommendations"))[:2] == [1, 5]  # Ann, Bea and one genre; the more popular first
    assert 2 not in await found("/movie/1/similar")  # not out yet


async def test_no_film_is_similar_to_itself_and_the_two_lists_differ(replica):
    async def ids(number, part):
        _, body = await ask(replica, f"/movie/{number}/{part}")
        return [entry["id"] for entry in body["results"]]

    for number in load_store().movies:
        similar, recommended = await ids(number, "similar"), await ids(number, "recommendations")
        assert similar and recommended and similar != recommended
        assert number not in similar + recommended


async def test_recommendations_name_their_media_type_and_similar_films_do_not(replica):
    _, recommended = await ask(replica, "/movie/155/recommendations")
    _, similar = await ask(replica, "/movie/155/similar")
    assert {entry["media_type"] for entry in recommended["results"]} == {"movie"}
    assert not any("media_type" in entry for entry in similar["results"])


async def test_reviews_differ_in_number_say_what_they_are_and_are_found_again(replica):
    numbers = set()
    for number, record in list(load_store().movies.items())[:60]:
        _, body = await ask(replica, f"/movie/{number}/reviews")
        numbers.add(body["total_results"])
        assert len({review["id"] for review in body["results"]}) == body["total_results"]
        assert body["total_results"] or record.vote_count < 1000
        for review in body["results"]:
            _, alone = await ask(replica, f"/review/{review['id']}")
            assert alone | review == alone and alone["media_id"] == number and alone["media_type"] == "Movie"
            assert "synthetic" in review["content"] and record.release_date <= review["created_at"][:10] <= "2024-06-01"
            assert review["created_at"] <= review["updated_at"] and 1 <= review["author_details"]["rating"] <= 10
    assert numbers >= {1, 2, 3, 4, 5}


async def test_a_film_that_is_not_out_has_no_reviews():
    assert (await small("/movie/2/reviews"))["total_results"] == 0


async def test_every_credit_is_found_by_its_id(replica):
    _, body = await ask(replica, "/movie/597/credits")
    for entry in body["cast"] + body["crew"]:
        _, credit = await ask(replica, f"/credit/{entry['credit_id']}")
        assert (credit["person"]["id"], credit["media"]["id"], credit["media_type"]) == (entry["id"], 597, "movie")
        assert credit["job"] == entry.get("job", "Actor") and credit["media"]["character"] == entry.get("character", "")


async def test_a_credit_of_a_show_lists_its_seasons(replica):
    _, body = await ask(replica, "/tv/1396/credits")
    _, credit = await ask(replica, f"/credit/{body['cast'][0]['credit_id']}")
    assert credit["media_type"] == "tv" and credit["credit_type"] == "cast"
    assert [season["season_number"] for season in credit["media"]["seasons"]] == [1, 2, 3, 4, 5]


async def test_a_guests_credit_lists_the_episodes_that_it_is_for():
    (guest,) = (await small("/tv/31/season/2/episode/1/credits"))["guest_stars"]
    media = (await small(f"/credit/{guest['credit_id']}"))["media"]
    assert [episode["name"] for episode in media["episodes"]] == ["Fog"] and media["character"] == "Stowaway"
    assert [season["season_number"] for season in media["seasons"]] == [2]


async def test_a_creators_credit_is_found_by_its_id():
    (creator,) = (await small("/tv/31"))["created_by"]
    credit = await small(f"/credit/{creator['credit_id']}")
    assert (credit["credit_type"], credit["job"], credit["person"]["name"]) == ("crew", "Creator", "Bea")


@pytest.mark.parametrize(
    ("arguments", "languages"),
    [
        ({"include_image_language": "fr"}, {"fr"}),
        ({"include_image_language": "null"}, {None}),
        ({"include_image_language": "fr, null"}, {"fr", None}),
        ({"language": "fr-FR"}, {"fr"}),
        ({"language": "fr-FR", "include_image_language": "null"}, {None}),
        ({"include_image_language": "xx"}, set()),
    ],
)
async def test_images_are_kept_by_language(arguments, languages):
    body = await small("/movie/6/images", **arguments)
    kinds = [body[kind] for kind in ("backdrops", "logos", "posters")]
    assert {picture["iso_639_1"] for pictures in kinds for picture in pictures} == languages


async def test_the_first_image_is_the_one_that_details_name(replica):
    _, film = await ask(replica, "/movie/597")
    _, images = await ask(replica, "/movie/597/images")
    _, collection = await ask(replica, "/collection/10")
    _, parts = await ask(replica, "/collection/10/images")
    _, company = await ask(replica, "/company/1")
    _, logos = await ask(replica, "/company/1/images")
    for details, pictures in ((film, images), (collection, parts)):
        assert details["poster_path"] == pictures["posters"][0]["file_path"]
        assert details["backdrop_path"] == pictures["backdrops"][0]["file_path"]
    assert company["logo_path"] == logos["logos"][0]["file_path"]


async def test_key_sets_of_images_differ_by_what_they_show(replica):
    _, film = await ask(replica, "/movie/597/images")
    _, collection = await ask(replica, "/collection/10/images")
    _, company = await ask(replica, "/company/1/images")
    assert set(film) == {"id", "backdrops", "logos", "posters"} and set(collection) == {"id", "backdrops", "posters"}
    assert set(company) == {"id", "logos"}
    assert set(company["logos"][0]) - set(film["logos"][0]) == {"id", "file_type"}
    assert all(image["width"] > image["height"] for image in film["backdrops"])


@pytest.mark.parametrize(
    "name", ["credits", "images", "keywords", "recommendations", "release_dates", "reviews", "similar"]
)
async def test_details_append_what_their_own_routes_answer(replica, name):
    _, alone = await ask(replica, "/movie/597")
    _, part = await ask(replica, f"/movie/597/{name}")
    _, both = await ask(replica, "/movie/597", append_to_response=name)
    part.pop("id", None)
    assert both == alone | {name: part}


async def test_appended_parts_share_the_language_and_take_the_images_one_apart():
    body = await small("/movie/6", append_to_response="images,similar", language="fr-FR", include_image_language="null")
    assert body["title"] == "La Tempête"
    assert {picture["iso_639_1"] for picture in body["images"]["posters"]} <= {None}


async def test_money_and_keywords_come_from_the_data():
    body = await small("/movie/1")
    assert (body["revenue"], body["budget"]) == (300, 0)
