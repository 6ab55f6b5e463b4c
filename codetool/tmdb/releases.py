"""Cinema release dates and certifications of films by country."""

from __future__ import annotations

from codetool.tmdb.list_items import JSONObject, get_release_day
from codetool.tmdb.records import Movie

THEATRICAL = 3
"""TMDB's number for a release in cinemas, the only type that the data knows; 1, 2, 4, 5 and 6 are premiere, limited,
digital, physical and TV."""
CERTIFICATIONS = ("NR", "G", "PG", "PG-13", "R", "NC-17")
"""Of the US, in TMDB's order: the mildest first, not rated before all."""


def list_countries(record: Movie) -> list[str]:
    """The countries of which a release is known: those that made the film, those named, the US where it certified."""
    return sorted({*record.countries, *record.releases, *(["US"] if record.certification else [])})


def get_certification(record: Movie, country: str) -> str:
    """The film's certification in a country; empty where none is known, which is everywhere but in the US."""
    return record.certification if country == "US" else ""


def list_release_days(record: Movie, region: str = "") -> set[str]:
    """The days of the film's releases: of the one in the region, if one is named, else of all."""
    return {get_release_day(record, region)} if region else {record.release_date, *record.releases.values()}


def was_released_in(record: Movie, year: str, region: str = "") -> bool:
    """Whether the film was released in the year, in the region or, without one, anywhere."""
    return any(day[:4] == year for day in list_release_days(record, region))


def render_release_dates(record: Movie) -> JSONObject:
    """Country by country, the day of the cinema release and the certification."""
    return {
        "id": record.id,
        "results": [
            {
                "iso_3166_1": country,
                "release_dates": [
                    {
                        "certification": get_certification(record, country),
                        "descriptors": [],
                        "iso_639_1": "",
                        "note": "",
                        "release_date": f"{get_release_day(record, country)}T00:00:00.000Z",
                        "type": THEATRICAL,
                    }
                ],
            }
            for country in list_countries(record)
        ],
    }
