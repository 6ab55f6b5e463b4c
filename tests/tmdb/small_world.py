"""A small world of the replica in which nothing is wrong, as data files that a test can damage."""

import json

PERSON = "id,name,gender,department,birthday,deathday,place_of_birth,popularity"
WORLD = {
    "movies.jsonl": [
        {
            "id": 1,
            "title": "The Lamp",
            "release_date": "2000-05-01",
            "releases": {"FR": "2000-06-07"},
            "runtime": 100,
            "genres": ["Drama"],
            "collection": 10,
            "companies": ["Lamp Films"],
            "keywords": ["light"],
            "certification": "PG",
            "budget": 5,
            "revenue": 7,
            "vote_average": 7.5,
            "vote_count": 10,
            "popularity": 3.5,
            "cast": {"Ada Adams": "Lucy", "Old Olsen": "The Guard"},
            "crew": {"Director": ["Bea Brown"]},
        },
        {
            "id": 2,
            "title": "The Lamp II",
            "release_date": "2003-05-02",
            "runtime": 110,
            "genres": ["Drama"],
            "collection": 10,
            "companies": ["Lamp Films"],
            "vote_average": 6,
            "vote_count": 9,
            "popularity": 2.5,
            "cast": {"Ada Adams": "Lucy"},
            "crew": {"Director": ["Bea Brown"]},
        },
    ],
    "shows.jsonl": [
        {
            "id": 5,
            "name": "Harbour",
            "genres": ["Drama"],
            "status": "Ended",
            "countries": ["GB"],
            "language": "en",
            "seasons": [["2010-01-03", 3], ["2011-01-02", 2]],
            "last_air_date": "2011-01-09",
            "runtime": 50,
            "homepage": "https://harbour.example",
            "networks": ["Channel 9"],
            "companies": [],
            "vote_average": 8.1,
            "vote_count": 20,
            "popularity": 9.5,
            "created_by": ["Bea Brown"],
            "cast": {"Ada Adams": "The Pilot"},
            "crew": {},
        }
    ],
    "episodes.jsonl": [
        {"show": 5, "season": 1, "number": 1, "name": "Fog", "air_date": "2010-01-03", "directors": ["Bea Brown"]},
        {"show": 5, "season": 1, "number": 2, "name": "Storm", "air_date": "2010-01-10", "guests": {"Cy Cole": "Tom"}},
        {"show": 5, "season": 2, "number": 2, "name": "Calm", "air_date": "2011-01-09"},
    ],
    "people.csv": [
        PERSON,
        '1,Ada Adams,1,Acting,1970-01-02,,"Oslo, Norway",5.5',
        "2,Bea Brown,1,Directing,1965-03-04,,,4.5",
        "3,Cy Cole,2,Acting,,,,3.5",
        "4,Old Olsen,2,Acting,1920-05-06,1999-07-08,,2.5",
    ],
    "collections.csv": ["id,name", "10,The Lamp Collection"],
    "companies.csv": [
        "id,name,headquarters,origin_country,homepage",
        '7,Lamp Films,"Bergen, Norway",NO,https://lamp.example',
    ],
    "networks.csv": ["id,name,origin_country,homepage", "9,Channel 9,GB,"],
    "genres.csv": ["kind,id,name", "movie,18,Drama", "tv,18,Drama"],
    "keywords.csv": ["id,name", "30,light"],
}


def write(folder):
    for file, rows in WORLD.items():
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def damage(world, file, old, new):
    text = (world / file).read_text(encoding="utf-8")
    assert old in text
    (world / file).write_text(text.replace(old, new, 1), encoding="utf-8")
