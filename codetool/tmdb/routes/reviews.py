"""Synthetic reviews, equal in every run and marked as synthetic. Votes and ids determine their number and ratings."""

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
"""Display name, which can be empty, and user name of invented authors."""
VERDICTS = (
    "It did not hold me.",
    "Some of it works, some does not.",
    "Well made and easy to recommend.",
    "A favourite.",
)
FIRST_DAY = date(2013, 1, 1)
"""Date of the earliest review, even of older films."""
MIN_VOTES_FOR_REVIEW = 1000
"""Number of votes from which a work has at least one review."""


@dataclass(frozen=True, slots=True)
class Review:
    """One review of a film or show."""

    id: str
    name: str
    username: str
    rating: float
    """Rating from 1 to 10."""
    content: str
    created: date
    updated: date
    kind: Kind
    media_id: int
    media_title: str

    @property
    def url(self) -> str:
        """URL of the review on the TMDB web site."""
        return f"https://www.themoviedb.org/review/{self.id}"


def list_reviews(catalog: Catalog, record: Movie | Show) -> Sequence[Review]:
    """Return up to five reviews, oldest first; none before the premiere, at least one for a work with many votes."""
    return _make_reviews(catalog, "movie" if isinstance(record, Movie) else "tv", record.id)


def reviews_by_id(catalog: Catalog) -> Mapping[str, Review]:
    """Return all reviews by id."""
    return _index_reviews(catalog)


def render_review(review: Review) -> JSONObject:
    """Return the entry of a review in the list of a work."""
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
    """Return the details of a review, including the work that it is about."""
    kind = {"movie": "Movie", "tv": "TV"}[review.kind]
    return render_review(review) | {
        "iso_639_1": "en",
        "media_id": review.media_id,
        "media_title": review.media_title,
        "media_type": kind,
    }


@lru_cache(maxsize=8)  # a catalog never changes
def _index_reviews(catalog: Catalog) -> Mapping[str, Review]:
    works: list[Movie | Show] = [*catalog.store.movies.values(), *catalog.store.shows.values()]
    return {review.id: review for work in works for review in list_reviews(catalog, work)}


@lru_cache(maxsize=8192)
def _make_reviews(catalog: Catalog, kind: Kind, number: int) -> Sequence[Review]:
    record = catalog.store.movies[number] if kind == "movie" else catalog.store.shows[number]
    premiere = record.release_date if isinstance(record, Movie) else record.first_air_date
    if premiere > catalog.as_of.isoformat():
        return ()
    digest = sha256(f"reviews {kind} {number}".encode()).digest()
    count = 1 + digest[0] % 5 if record.vote_count >= MIN_VOTES_FOR_REVIEW else digest[0] % 3
    reviews = [_make_review(catalog, kind, record, date.fromisoformat(premiere), index) for index in range(count)]
    return tuple(sorted(reviews, key=lambda review: (review.created, review.id)))


def _make_review(catalog: Catalog, kind: Kind, record: Movie | Show, premiere: date, index: int) -> Review:
    digest = sha256(f"review {kind} {record.id} {index}".encode())
    random_bytes = digest.digest()
    title = record.title if isinstance(record, Movie) else record.name
    start = max(premiere, FIRST_DAY) if catalog.as_of > FIRST_DAY else premiere
    days = (catalog.as_of - start).days
    created = start + timedelta(days=int.from_bytes(random_bytes[:2], "big") % (days + 1))
    name, username = AUTHORS[(random_bytes[2] + index) % len(AUTHORS)]
    rating = float(min(10, max(1, round(record.vote_average) - 2 + random_bytes[3] % 5)))
    return Review(
        id=digest.hexdigest()[:24],
        name=name,
        username=username,
        rating=rating,
        content=f"{title}: {VERDICTS[min(3, int(rating) // 3)]} {int(rating)} out of 10. (A synthetic review.)",
        created=created,
        updated=min(catalog.as_of, created + timedelta(days=random_bytes[4])),
        kind=kind,
        media_id=record.id,
        media_title=title,
    )
