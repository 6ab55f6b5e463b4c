"""Query parameters shared by several routes, with descriptions for the OpenAPI document."""

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
"""A parameter of the API that the tool documents leave out."""
Append = Hidden
"""`append_to_response`: names of sub-resources, separated by commas. In the documents each is a separate tool."""
Adult = Annotated[bool, Query(description="Whether to include adult titles; the replica has none.")]
Language = Hidden
"""`fr-FR` or `fr`: titles are in this language if it is the original language of the record, else in English."""
Region = Annotated[str, Query(description="A country (ISO 3166-1, upper case) whose release dates count.")]
ImageLanguages = Annotated[
    str, Query(description="Keep images of these languages (ISO 639-1, with commas; null: without text).")
]


def _validate_day(text: str) -> str:
    """Return the text if it is an ISO date or empty. Raises PydanticCustomError for any other text."""
    if text and not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise PydanticCustomError(NOT_A_DAY, "not a day")
    try:
        date.fromisoformat(text or "2000-01-01")
    except ValueError as error:
        raise PydanticCustomError(NOT_A_DAY, "not a day") from error
    return text


Day = Annotated[str, AfterValidator(_validate_day)]
"""An ISO date, `2024-01-31`, or empty for none; any other text is answered with 400."""
