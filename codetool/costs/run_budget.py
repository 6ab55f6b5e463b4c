"""Limits on what all tasks of a run may spend together."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RunBudget:
    """What the commands of a run folder may spend together; null means no limit.

    What is counted is what models were really asked, also for attempts that were killed or failed. What a folder has
    recorded is not asked again and costs nothing. When a limit is reached, the tasks under way end with their best path
    so far, and no further task starts.
    """

    tokens: Annotated[int, Field(ge=0)] | None
    """Tokens of all models, read and written together."""
    usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """Price in USD of the tokens of all models that have one."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """Wall time in seconds in which tasks were run, over all commands."""

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in (self.tokens, self.usd, self.seconds))

    def find_exhausted(self, tokens: int, usd: float | None, seconds: float) -> str | None:
        """Return the name of the first limit that has been reached, None while all hold."""
        used = {"tokens": (tokens, self.tokens), "usd": (usd or 0.0, self.usd), "seconds": (seconds, self.seconds)}
        return next((name for name, (value, limit) in used.items() if limit is not None and value >= limit), None)

    def divide(self, parts: int) -> RunBudget:
        """Return the share of one of several equal parts."""
        tokens = None if self.tokens is None else self.tokens // parts
        usd, seconds = (None if limit is None else limit / parts for limit in (self.usd, self.seconds))
        return RunBudget(tokens=tokens, usd=usd, seconds=seconds)
