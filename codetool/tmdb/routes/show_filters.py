"""Query parameters of `/discover/tv`: filters and sort order, with descriptions for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from codetool.tmdb.id_filters import Names, Numbers
from codetool.tmdb.routes.movie_filters import Ways
from codetool.tmdb.routes.parameters import Adult, Day, PageNumber

SortBy = Literal[
    "popularity.asc",
    "popularity.desc",
    "first_air_date.asc",
    "first_air_date.desc",
    "vote_average.asc",
    "vote_average.desc",
]
IDS = " (ids; a comma means all of them, a pipe one of them)."


class ShowFilters(BaseModel):
    """Filters of `/discover/tv`. Empty filters are ignored; in lists of ids a comma means AND, a pipe OR."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    sort_by: SortBy = Field("popularity.desc", description="What to sort by, ascending or descending.")
    air_date_gte: Day = Field("", alias="air_date.gte", description="Some episode aired on this day or later.")
    air_date_lte: Day = Field("", alias="air_date.lte", description="Some episode aired on this day or earlier.")
    first_air_date_gte: Day = Field(
        "", alias="first_air_date.gte", description="The first episode aired on this day or later."
    )
    first_air_date_lte: Day = Field("", alias="first_air_date.lte", description="The first episode aired by this day.")
    first_air_date_year: int | None = Field(None, description="The first episode aired in this year.")
    page: PageNumber = 1
    timezone: str = Field("America/New_York", description="Accepted; days are those of the show's own calendar.")
    vote_average_gte: float = Field(0, alias="vote_average.gte", ge=0, le=10, description="Rated at least so well.")
    vote_count_gte: int = Field(0, alias="vote_count.gte", ge=0, description="Rated by at least so many users.")
    with_genres: Numbers = Field("", description="Keep shows of these genres" + IDS)
    with_networks: Numbers = Field("", description="Keep shows of these networks" + IDS)
    without_genres: Numbers = Field("", description="Leave out shows of these genres" + IDS)
    with_runtime_gte: int = Field(0, alias="with_runtime.gte", description="Minutes that an episode takes at least.")
    with_runtime_lte: int | None = Field(None, alias="with_runtime.lte", description="Minutes that one takes at most.")
    include_null_first_air_dates: bool = Field(False, description="Accepted; every show here has a first air date.")
    with_original_language: Names = Field("", description="Original language (ISO 639-1).")
    without_keywords: Numbers = Field("", description="Leave out shows with these keywords" + IDS)
    screened_theatrically: bool = Field(False, description="Keep shows that were screened in cinemas.")
    with_companies: Numbers = Field("", description="Keep shows of these production companies" + IDS)
    with_keywords: Numbers = Field("", description="Keep shows with these keywords" + IDS)
    with_watch_providers: Numbers = Field("", description="Keep shows that these providers offer there" + IDS)
    watch_region: str = Field("", description="Country (ISO 3166-1) of the watch providers.")
    with_watch_monetization_types: Ways = Field("", description="flatrate, free, ads, rent or buy; a pipe means or.")
    with_status: Numbers = Field(
        "", description="Returning Series 0, Planned 1, In Production 2, Ended 3, Canceled 4, Pilot 5."
    )
    with_type: Numbers = Field(
        "", description="Documentary 0, News 1, Miniseries 2, Reality 3, Scripted 4, Talk Show 5, Video 6."
    )
    without_companies: Numbers = Field("", description="Leave out shows of these production companies" + IDS)
    include_adult: Adult = False

    @model_validator(mode="before")
    @classmethod
    def _given(cls, values: Any) -> Any:
        """Drop parameters without a value."""
        return {name: v for name, v in values.items() if v != ""} if isinstance(values, Mapping) else values


Filters = Annotated[ShowFilters, Query()]
