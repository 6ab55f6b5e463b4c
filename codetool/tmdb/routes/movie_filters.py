"""Query parameters of `/discover/movie`: filters and sort order, with descriptions for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from codetool.tmdb.id_filters import Names, Numbers
from codetool.tmdb.routes.parameters import Adult, Day, PageNumber, Region

SortBy = Literal[
    "popularity.asc",
    "popularity.desc",
    "release_date.asc",
    "release_date.desc",
    "revenue.asc",
    "revenue.desc",
    "primary_release_date.asc",
    "primary_release_date.desc",
    "original_title.asc",
    "original_title.desc",
    "vote_average.asc",
    "vote_average.desc",
    "vote_count.asc",
    "vote_count.desc",
]
WAY = "(flatrate|free|ads|rent|buy)"
Ways = Annotated[str, StringConstraints(pattern=rf"^({WAY}([,|]{WAY})*)?$")]


class MovieFilters(BaseModel):
    """Filters of `/discover/movie`. Empty filters are ignored; in lists of ids a comma means AND, a pipe OR."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    sort_by: SortBy = Field("popularity.desc", description="What to sort by, and the direction.")
    page: PageNumber = 1
    region: Region = ""
    include_adult: Adult = False
    include_video: bool = Field(False, description="Whether to include videos; the replica has none.")
    certification_country: str = Field("", description="The country whose certifications count; US is known.")
    certification: Names = Field("", description="Keep films with this certification, such as PG-13.")
    certification_lte: str = Field("", alias="certification.lte", description="Keep films certified at most so.")
    certification_gte: str = Field("", alias="certification.gte", description="Keep films certified at least so.")
    year: int | None = Field(None, description="Keep films with a release anywhere in this year.")
    primary_release_year: int | None = Field(None, description="Keep films first released in this year.")
    primary_release_date_gte: Day = Field(
        "", alias="primary_release_date.gte", description="Keep films first released on this day or later."
    )
    primary_release_date_lte: Day = Field(
        "", alias="primary_release_date.lte", description="Keep films first released on this day or earlier."
    )
    release_date_gte: Day = Field(
        "", alias="release_date.gte", description="Keep films with a release anywhere on this day or later."
    )
    release_date_lte: Day = Field(
        "", alias="release_date.lte", description="Keep films with a release anywhere on this day or earlier."
    )
    with_release_type: Numbers = Field("", description="Keep films with a release of this type; 3 is in cinemas.")
    vote_count_gte: int | None = Field(None, alias="vote_count.gte", description="Keep films with so many votes.")
    vote_count_lte: int | None = Field(
        None, alias="vote_count.lte", description="Keep films with at most so many votes."
    )
    vote_average_gte: float | None = Field(None, alias="vote_average.gte", description="Keep films rated at least so.")
    vote_average_lte: float | None = Field(None, alias="vote_average.lte", description="Keep films rated at most so.")
    with_cast: Numbers = Field("", description="Keep films in which these people (ids) act.")
    with_crew: Numbers = Field("", description="Keep films on whose crew these people (ids) are.")
    with_people: Numbers = Field("", description="Keep films on which these people (ids) worked.")
    with_companies: Numbers = Field("", description="Keep films of these production companies (ids).")
    without_companies: Numbers = Field("", description="Leave out films of these production companies (ids).")
    with_genres: Numbers = Field("", description="Keep films of these genres (ids).")
    without_genres: Numbers = Field("", description="Leave out films of these genres (ids).")
    with_keywords: Numbers = Field("", description="Keep films with these keywords (ids).")
    without_keywords: Numbers = Field("", description="Leave out films with these keywords (ids).")
    with_runtime_gte: int | None = Field(
        None, alias="with_runtime.gte", description="Keep films of at least so many minutes."
    )
    with_runtime_lte: int | None = Field(
        None, alias="with_runtime.lte", description="Keep films of at most so many minutes."
    )
    with_original_language: Names = Field("", description="Keep films in this original language (ISO 639-1).")
    watch_region: str = Field("", description="The country (ISO 3166-1) that the two watch filters are about.")
    with_watch_providers: Numbers = Field("", description="Keep films that these providers (ids) offer there.")
    with_watch_monetization_types: Ways = Field(
        "", description="Keep films offered there this way: flatrate, free, ads, rent or buy."
    )

    @model_validator(mode="before")
    @classmethod
    def _given(cls, values: Any) -> Any:
        """Drop parameters without a value."""
        return {name: v for name, v in values.items() if v != ""} if isinstance(values, Mapping) else values


Filters = Annotated[MovieFilters, Query()]
