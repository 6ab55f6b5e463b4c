"""Final answer that no model composes."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Receipt:
    """Takes what was printed last for the answer, also if the path is not finished."""

    @property
    def unfinished(self) -> str:
        """Return which text is the answer of an unfinished path."""
        return "last_printed"
