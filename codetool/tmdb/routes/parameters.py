"""The query parameters that several routes share, described once for the OpenAPI document."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from codetool.tmdb.error_responses import NOT_A_DAY

Text = Annotated[str, Query(min_length=1, description="What to search for.")]
PageNumber = Annotated[int, Query(ge=1, le=500, description="Which page of 20 results to return, from 1.")]
Hidden = Annotated[str, Query(include_in_schema=False)]
"""A parameter of the service that the tool documents leave out."""
Append = Hidden
"""`append_to_response`: names of sub-resources, separated by commas; in the documents each has a tool of its own."""
Adult = Annotated[bool, Query(description="Whether to include adult titles; the replica has none.")]
Language = Hidden
"""`fr-FR` or `fr`: a title is given in this language where it is the record's original one, else in English."""
Region = Annotated[str, Query(description="A country (ISO 3166-1, upper case) whose release dates count.")]
ImageLanguages = Annotated[
    str, Query(description="Keep images of these languages (ISO 639-1, with commas; null: without text).")
]


def _validate_day(text: str) -> str:
    """The text, which has to be a day or nothing. Raises PydanticCustomError."""
    if text and not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise PydanticCustomError(NOT_A_DAY, "not a day")
    try:
        date.fromisoformat(text or "2000-01-01")
    except ValueError as error:
        raise PydanticCustomError(NOT_A_DAY, "not a day") from error
    return text


Day = Annotated[str, AfterValidator(_validate_day)]
"""An ISO day, `2024-01-31`; empty for none. Another text is TMDB's 400."""
