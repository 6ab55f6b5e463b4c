"""Shapes of images; a company's logos have other keys than a film's."""

from __future__ import annotations

from codetool.tmdb.schemas.list_schemas import Answer


class Picture(Answer):
    aspect_ratio: float
    height: int
    iso_3166_1: str | None
    iso_639_1: str | None
    file_path: str
    vote_average: float
    vote_count: int
    width: int


class Logo(Answer):
    aspect_ratio: float
    file_path: str
    height: int
    id: str
    file_type: str
    vote_average: float
    vote_count: int
    width: int


class MovieImages(Answer):
    backdrops: list[Picture]
    id: int
    logos: list[Picture]
    posters: list[Picture]


class ShowImages(MovieImages):
    """The same keys as a film's."""


class CollectionImages(Answer):
    id: int
    backdrops: list[Picture]
    posters: list[Picture]


class OrganisationImages(Answer):
    """Of a company or a network."""

    id: int
    logos: list[Logo]
