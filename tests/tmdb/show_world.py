"""Five small shows, and how tests ask a replica about them."""

import json
from datetime import date

from codetool.tmdb.app import create_app
from codetool.tmdb.asgi_client import build_scope, fetch
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Episode, Organisation, Person, Season, Show
from codetool.tmdb.store import Store

SERVER = "https://api.themoviedb.org/3"
TODAY = date(2024, 6, 1)
NAMES = (
    "Ann Lead",
    "Bob Second",
    "Cleo Guest",
    "Dan Director",
    "Eve Writer",
    "Finn Maker",
    "Gus Composer",
    "Hal Other",
)


def show(number, name, seasons, last, **more):
    return Show(
        **{
            "id": number,
            "name": name,
            "genres": ("Drama",),
            "status": "Ended",
            "countries": ("US",),
            "language": "en",
            "seasons": tuple(Season(*season) for season in seasons),
            "last_air_date": last,
            "runtime": 50,
            "homepage": "",
            "networks": ("Alpha",),
            "companies": ("Mill",),
            "vote_average": 8.0,
            "vote_count": 900,
            "popularity": 10.0,
            "created_by": (),
            "cast": {"Ann Lead": "Ada"},
            "crew": {},
        }
        | more
    )


def store():
    shows = [
        show(
            1,
            "Long",
            [("2020-01-01", 3), ("2021-01-01", 2)],
            "2021-01-08",
            cast={"Ann Lead": "Ada", "Bob Second": "Ben"},
            crew={"Director": ("Hal Other",), "Original Music Composer": ("Gus Composer",)},
            created_by=("Finn Maker",),
            keywords=("island", "clock"),
            genres=("Drama", "Crime"),
            popularity=30.0,
        ),
        show(2, "Weekly", [("2024-05-25", 4)], "2024-06-15", status="Returning Series", vote_average=9.0, runtime=30),
        show(3, "Daily", [("2024-06-01", 2)], "2024-06-02", status="Returning Series", type="Reality", vote_count=150),
        show(
            4,
            "Binge",
            [("2019-03-03", 3)],
            "2019-03-03",
            original_name="열차",
            language="ko",
            countries=("KR",),
            networks=("Beta",),
            companies=("Mill", "Wheel"),
            type="Miniseries",
            vote_average=7.0,
            keywords=("island",),
        ),
        show(5, "Tales", [("2018-02-02", 2)], "2018-02-09", cast={}, status="Canceled", genres=("Crime",)),
    ]
    known = [
        Episode(
            show=1,
            season=1,
            number=1,
            name="Pilot",
            air_date="2020-01-01",
            directors=("Dan Director",),
            writers=("Eve Writer", "Dan Director"),
            guests={"Cleo Guest": "A stranger"},
        ),
        Episode(show=1, season=1, number=3, name="Third", air_date="2020-01-15", directors=("Dan Director",)),
        Episode(show=1, season=2, number=1, name="Back", air_date="2021-01-01", directors=("Dan Director",)),
        Episode(
            show=1,
            season=2,
            number=2,
            name="End",
            air_date="2021-01-08",
            directors=("Dan Director",),
            guests={"Cleo Guest": "The stranger's twin"},
        ),
        Episode(show=2, season=1, number=2, name="Two", air_date="2024-06-01"),
        Episode(show=2, season=1, number=3, name="Three", air_date="2024-06-08"),
        Episode(show=5, season=1, number=1, name="One tale", air_date="2018-02-02", cast={"Bob Second": "A king"}),
        Episode(show=5, season=1, number=2, name="Another", air_date="2018-02-09", cast={"Hal Other": "A thief"}),
    ]
    return Store(
        movies={},
        shows={record.id: record for record in shows},
        people={n: Person(n, name, 1, "Acting", "", "", "", float(n)) for n, name in enumerate(NAMES, 1)},
        collections={},
        companies={1: Organisation(1, "Mill", "US", ""), 2: Organisation(2, "Wheel", "KR", "")},
        networks={
            7: Organisation(7, "Alpha", "US", "https://alpha.example", "New York City, New York"),
            8: Organisation(8, "Beta", "KR", ""),
        },
        genres={("tv", "Drama"): 18, ("tv", "Crime"): 80},
        keywords={"island": 501, "clock": 502},
        episodes={(e.show, e.season, e.number): e for e in known},
    )


def small_app(today=TODAY):
    """The replica over the five shows on that day."""
    return create_app(Catalog(store(), today))


async def ask(app, path, **query):
    answer = await fetch(app, build_scope("GET", SERVER, path, query))
    return answer.status, json.loads(answer.body)


async def body(app, path, **query):
    status, found = await ask(app, path, **query)
    assert status == 200
    return found


async def ids(app, path, **query):
    return [entry["id"] for entry in (await body(app, path, **query))["results"]]


def names(members):
    return [member["name"] for member in members]
