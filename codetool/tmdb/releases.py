"""Cinema release dates and certifications of films by country."""

from __future__ import annotations

from codetool.tmdb.list_items import JSONObject, get_release_day
from codetool.tmdb.records import Movie

THEATRICAL = 3
"""TMDB's code of a cinema release, the only type in the data. Codes 1, 2, 4, 5 and 6 are premiere, limited, digital,
physical and TV."""
CERTIFICATIONS = ("NR", "G", "PG", "PG-13", "R", "NC-17")
"""US certifications in TMDB's order: not rated, then from the mildest to the strictest."""


def list_countries(record: Movie) -> list[str]:
    """Return the countries with a known release: production countries, those in `releases`, the US if certified."""
    return sorted({*record.countries, *record.releases, *(["US"] if record.certification else [])})


def get_certification(record: Movie, country: str) -> str:
    """Return the certification of a film in a country; empty if unknown, as for all countries except the US."""
    return record.certification if country == "US" else ""


def list_release_days(record: Movie, region: str = "") -> set[str]:
    """Return the release date in the region; without a region, all release dates."""
    return {get_release_day(record, region)} if region else {record.release_date, *record.releases.values()}


def was_released_in(record: Movie, year: str, region: str = "") -> bool:
    """Return whether the film was released in a year: in the region or, without a region, anywhere."""
    return any(day[:4] == year for day in list_release_days(record, region))


def render_release_dates(record: Movie) -> JSONObject:
    """Return the date of the cinema release and the certification for each country."""
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
