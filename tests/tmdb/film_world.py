"""A world of seven films and one show, as small as the properties of films need it, and how tests ask it."""

import json
from datetime import date

from codetool.tmdb.app import SERVER, create_app
from codetool.tmdb.asgi_client import build_scope, fetch
from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.records import Collection, Episode, Movie, Organisation, Person, Season, Show
from codetool.tmdb.store import Store
from codetool.types import ToolCall

DAY = date(2024, 6, 1)
ACTION, DRAMA, WAR = 28, 18, 10752
HEIST, ROBOT, SEA = 1, 2, 3
ANN, BEA, CAL = 11, 12, 13
NORTH, SOUTH = 21, 22


def film(number, title, day, **facts):
    usual = {
        "runtime": 100,
        "genres": ("Action",),
        "companies": ("North",),
        "vote_average": 6.0,
        "vote_count": 500,
        "popularity": 50.0 - number,
        "cast": {"Ann": "Hero"},
        "crew": {"Director": ("Bea",)},
    }
    return Movie(**usual | {"id": number, "title": title, "release_date": day} | facts)


FILMS = (
    film(1, "Vault", "2024-05-20", keywords=("heist",), certification="PG-13", collection=5, revenue=300),
    film(2, "Vault Two", "2024-06-10", keywords=("heist", "robot"), certification="R", collection=5, runtime=150),
    film(3, "Calm", "2001-03-01", genres=("Drama",), cast={"Cal": "Sailor"}, crew={"Director": ("Ann",)}, revenue=100),
    film(4, "Sea War", "1999-01-02", genres=("Action", "War"), companies=("South",), vote_average=9.1, vote_count=10),
    film(
        5,
        "Ship",
        "2000-12-30",
        genres=("Drama", "War"),
        keywords=("sea",),
        releases={"GB": "2001-02-03", "DE": "2024-05-30"},
    ),
    film(6, "The Storm", "1990-05-05", language="fr", original_title="La Tempête", countries=("FR",), vote_average=8.0),
    film(
        7, "Quiet", "1980-01-01", genres=("Drama",), certification="G", vote_average=7.5, vote_count=400, companies=()
    ),
)
SHOW = Show(
    id=31,
    name="Harbour",
    genres=("Drama",),
    status="Ended",
    countries=("US",),
    language="en",
    seasons=(Season("2010-01-01", 2), Season("2011-01-01", 3)),
    last_air_date="2011-02-01",
    runtime=50,
    homepage="",
    networks=(),
    companies=(),
    vote_average=7.0,
    vote_count=10,
    popularity=5.0,
    created_by=("Bea",),
    cast={"Ann": "Captain"},
    crew={},
)
GUESTED = Episode(show=31, season=2, number=1, name="Fog", air_date="2011-01-01", guests={"Cal": "Stowaway"})
ORGANISATIONS = {number: Organisation(number, name, "US", "") for number, name in ((NORTH, "North"), (SOUTH, "South"))}
WORLD = Store(
    movies={record.id: record for record in FILMS},
    shows={31: SHOW},
    people={n: Person(n, name, 0, "Acting", "", "", "", 1.0) for n, name in ((ANN, "Ann"), (BEA, "Bea"), (CAL, "Cal"))},
    collections={5: Collection(5, "Vault Collection")},
    companies=ORGANISATIONS,
    networks={},
    genres={("movie", "Action"): ACTION, ("movie", "Drama"): DRAMA, ("movie", "War"): WAR, ("tv", "Drama"): 18},
    keywords={"heist": HEIST, "robot": ROBOT, "sea": SEA},
    episodes={(31, 2, 1): GUESTED},
)
SMALL = create_app(Catalog(WORLD, DAY))


async def ask(replica, path, **arguments):
    answer = await replica.answer(ToolCall("GET", SERVER + path, arguments))
    return answer.status, json.loads(answer.body)


async def small(path, **arguments):
    """The body that the small world above answers with."""
    answer = await fetch(SMALL, build_scope("GET", SERVER, path, arguments))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def found(path, **arguments):
    return [entry["id"] for entry in (await small(path, **arguments))["results"]]
