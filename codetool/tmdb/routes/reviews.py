"""Reviews: synthetic, the same in every run, and saying so. Facts of a record decide how many and how kind they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from hashlib import sha256

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.list_items import JSONObject
from codetool.tmdb.records import Kind, Movie, Show

AUTHORS = (
    ("Ada Quill", "adaquill"),
    ("", "reelkeeper"),
    ("Milo Vance", "milov"),
    ("", "lastrow"),
    ("Ines Marlow", "inesm"),
    ("Otto Bergen", "ottob"),
    ("", "matinee_owl"),
    ("Priya Nair", "priyan"),
    ("Tom Aldous", "taldous"),
    ("", "creditsitter"),
)
"""Name, which may be hidden, and user name; nobody real."""
VERDICTS = (
    "It did not hold me.",
    "Some of it works, some does not.",
    "Well made and easy to recommend.",
    "A favourite.",
)
FIRST_DAY = date(2013, 1, 1)
"""Nobody reviewed before, however old the film."""
MIN_VOTES_FOR_REVIEW = 1000
"""Votes from which a work has at least one review."""


@dataclass(frozen=True, slots=True)
class Review:
    """One review of a film or show."""

    id: str
    name: str
    username: str
    rating: float
    """1 to 10."""
    content: str
    created: date
    updated: date
    kind: Kind
    media_id: int
    media_title: str

    @property
    def url(self) -> str:
        """Where the service would show it."""
        return f"https://www.themoviedb.org/review/{self.id}"


def list_reviews(here: Catalog, record: Movie | Show) -> Sequence[Review]:
    """None to five reviews, oldest first; none before the premiere, at least one where many have voted."""
    return _make_reviews(here, "movie" if isinstance(record, Movie) else "tv", record.id)


def reviews_by_id(here: Catalog) -> Mapping[str, Review]:
    """Every review of the catalogue by its id."""
    return _index_reviews(here)


def render_review(review: Review) -> JSONObject:
    """A review in a record's list."""
    return {
        "author": review.name or review.username,
        "author_details": {
            "name": review.name,
            "username": review.username,
            "avatar_path": None,
            "rating": review.rating,
        },
        "content": review.content,
        "created_at": f"{review.created.isoformat()}T12:00:00Z",
        "id": review.id,
        "updated_at": f"{review.updated.isoformat()}T12:00:00Z",
        "url": review.url,
    }


def render_review_details(review: Review) -> JSONObject:
    """A review that stands alone: also what it is of."""
    kind = {"movie": "Movie", "tv": "TV"}[review.kind]
    return render_review(review) | {
        "iso_639_1": "en",
        "media_id": review.media_id,
        "media_title": review.media_title,
        "media_type": kind,
    }


@lru_cache(maxsize=8)  # a catalogue never changes
def _index_reviews(here: Catalog) -> Mapping[str, Review]:
    works: list[Movie | Show] = [*here.store.movies.values(), *here.store.shows.values()]
    return {review.id: review for work in works for review in list_reviews(here, work)}


@lru_cache(maxsize=8192)
def _make_reviews(here: Catalog, kind: Kind, number: int) -> Sequence[Review]:
    record = here.store.movies[number] if kind == "movie" else here.store.shows[number]
    premiere = record.release_date if isinstance(record, Movie) else record.first_air_date
    if premiere > here.as_of.isoformat():
        return ()
    digest = sha256(f"reviews {kind} {number}".encode()).digest()
    count = 1 + digest[0] % 5 if record.vote_count >= MIN_VOTES_FOR_REVIEW else digest[0] % 3
    made = [_make_review(here, kind, record, date.fromisoformat(premiere), place) for place in range(count)]
    return tuple(sorted(made, key=lambda review: (review.created, review.id)))


def _make_review(here: Catalog, kind: Kind, record: Movie | Show, premiere: date, place: int) -> Review:
    digest = sha256(f"review {kind} {record.id} {place}".encode())
    dice = digest.digest()
    title = record.title if isinstance(record, Movie) else record.name
    start = max(premiere, FIRST_DAY) if here.as_of > FIRST_DAY else premiere
    span = (here.as_of - start).days
    created = start + timedelta(days=int.from_bytes(dice[:2], "big") % (span + 1))
    name, username = AUTHORS[(dice[2] + place) % len(AUTHORS)]
    rating = float(min(10, max(1, round(record.vote_average) - 2 + dice[3] % 5)))
    return Review(
        id=digest.hexdigest()[:24],
        name=name,
        username=username,
        rating=rating,
        content=f"{title}: {VERDICTS[min(3, int(rating) // 3)]} {int(rating)} out of 10. (A synthetic review.)",
        created=created,
        updated=min(here.as_of, created + timedelta(days=dice[4])),
        kind=kind,
        media_id=record.id,
        media_title=title,
    )
