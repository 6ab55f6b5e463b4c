"""Limits on what the search of one task may spend."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from codetool.ledger import Ledger

LATER_LIMITS = ("tokens_out", "simulator_tokens", "live_calls", "usd", "flops")
"""Limits that older run folders do not have in their settings."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Budget:
    """What a task may spend; null means no limit.

    Looked at before each expansion: one that has begun is never cut short, so a task may exceed a limit by what its
    expansions then in flight cost. Where several are in flight, the point at which a limit strikes depends on timing.
    """

    tokens: Annotated[int, Field(ge=0)] | None
    """Tokens of the policy, read and written together."""
    prm_tokens: Annotated[int, Field(ge=0)] | None
    """Tokens of the prompts that the PRM is asked, whether a cache holds them or not."""
    executions: Annotated[int, Field(ge=0)] | None
    """Steps run in the sandbox."""
    tool_calls: Annotated[int, Field(ge=0)] | None
    """Requests that generated code made."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """Wall time of the task in seconds."""
    tokens_out: Annotated[int, Field(ge=0)] | None = None
    """Tokens that the policy has written."""
    simulator_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens of the model that simulates tools, read and written together."""
    live_calls: Annotated[int, Field(ge=0)] | None = None
    """Requests that the live service answered."""
    usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Price in USD of the tokens of all models that have a price. The judge is asked after the search."""
    flops: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Floating-point operations of policy and PRM."""

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the limits that are not set; those that came later leave identities as they were."""
        return frozenset(name for name in LATER_LIMITS if getattr(self, name) is None)

    def find_exhausted(self, ledger: Ledger, seconds: float) -> str | None:
        """Name of the first limit that has been reached, None while all hold.

        A limit of `usd` or `flops` holds while the amount is unknown.
        """
        used = {
            "tokens": (ledger.tokens_in + ledger.tokens_out, self.tokens),
            "prm_tokens": (ledger.prm_tokens, self.prm_tokens),
            "executions": (ledger.executions, self.executions),
            "tool_calls": (ledger.tool_calls, self.tool_calls),
            "seconds": (seconds, self.seconds),
            "tokens_out": (ledger.tokens_out, self.tokens_out),
            "simulator_tokens": (ledger.simulator_tokens_in + ledger.simulator_tokens_out, self.simulator_tokens),
            "live_calls": (ledger.tool_calls_live, self.live_calls),
            "usd": (ledger.usd or 0.0, self.usd),
            "flops": (ledger.flops or 0, self.flops),
        }
        return next((name for name, (value, limit) in used.items() if limit is not None and value >= limit), None)
