"""Shapes of what belongs to a show, a season, an episode, a network or a person: keywords and images."""

from __future__ import annotations

from codetool.tmdb.schemas.image_schemas import MovieImages, Picture
from codetool.tmdb.schemas.list_schemas import Answer, Image
from codetool.tmdb.schemas.title_schemas import Keyword


class ShowKeywords(Answer):
    """Shows have `results` where films have `keywords`."""

    id: int
    results: list[Keyword]


class ShowImages(MovieImages):
    """As a film's."""


class SeasonImages(Answer):
    id: int
    posters: list[Picture]


class EpisodeImages(Answer):
    id: int
    stills: list[Picture]


class PersonImages(Answer):
    id: int
    profiles: list[Picture]


class NetworkDetails(Answer):
    headquarters: str
    homepage: str
    id: int
    logo_path: Image
    name: str
    origin_country: str
