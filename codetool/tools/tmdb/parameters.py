"""The query parameters that several routes share, described once for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Text = Annotated[str, Query(min_length=1, description="What to search for.")]
PageNumber = Annotated[int, Query(ge=1, le=500, description="Which page of 20 results to return, from 1.")]
Append = Annotated[str, Query(include_in_schema=False)]
"""`append_to_response`: names of sub-resources, separated by commas; left out of the tool documents, where each has a
tool of its own."""
Adult = Annotated[bool, Query(description="Whether to include adult titles; the replica has none.")]
