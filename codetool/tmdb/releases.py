"""When and with which certification a film came to the cinemas of each country."""

from __future__ import annotations

from codetool.tmdb.list_items import JSONObject, release
from codetool.tmdb.records import Movie

THEATRICAL = 3
"""TMDB's number for a release in cinemas, the only type that the data knows; 1, 2, 4, 5 and 6 are premiere, limited,
digital, physical and TV."""
CERTIFICATIONS = ("NR", "G", "PG", "PG-13", "R", "NC-17")
"""Of the US, in TMDB's order: the mildest first, not rated before all."""


def countries(record: Movie) -> list[str]:
    """The countries of which a release is known: those that made the film, those named, the US where it certified."""
    return sorted({*record.countries, *record.releases, *(["US"] if record.certification else [])})


def certification(record: Movie, country: str) -> str:
    """The film's certification in a country; empty where none is known, which is everywhere but in the US."""
    return record.certification if country == "US" else ""


def days(record: Movie, region: str = "") -> set[str]:
    """The days of the film's releases: of the one in the region, if one is named, else of all."""
    return {release(record, region)} if region else {record.release_date, *record.releases.values()}


def released_in(record: Movie, year: str, region: str = "") -> bool:
    """Whether the film was released in the year, in the region or, without one, anywhere."""
    return any(day[:4] == year for day in days(record, region))


def release_dates(record: Movie) -> JSONObject:
    """Country by country, the day of the cinema release and the certification."""
    return {
        "id": record.id,
        "results": [
            {
                "iso_3166_1": country,
                "release_dates": [
                    {
                        "certification": certification(record, country),
                        "descriptors": [],
                        "iso_639_1": "",
                        "note": "",
                        "release_date": f"{release(record, country)}T00:00:00.000Z",
                        "type": THEATRICAL,
                    }
                ],
            }
            for country in countries(record)
        ],
    }
