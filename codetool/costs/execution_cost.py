"""What executed steps and candidates add to the ledger of their task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from codetool.types import Candidate, Execution, Provenance, ToolAnswer


def measure_candidates(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Return the amounts of a draw, by the names of the ledger."""
    return {
        "tokens_in": sum(candidate.tokens_in for candidate in candidates),
        "tokens_out": sum(candidate.tokens_out for candidate in candidates),
        "tokens_in_cached": sum(candidate.tokens_in_cached for candidate in candidates),
    }


def measure_execution(execution: Execution) -> dict[str, int]:
    """Return the amounts of an executed step with its tool calls, by the names of the ledger."""
    calls = execution.calls
    counts = Counter(map(_find_source, calls))
    return {
        "executions": 1,
        "executions_ran": int(execution.ran),
        "tool_calls": len(calls),
        "simulator_tokens_in": sum(call.simulator_tokens_in for call in calls),
        "simulator_tokens_out": sum(call.simulator_tokens_out for call in calls),
        **{f"tool_calls_{source}": count for source, count in counts.items()},
    }


def _find_source(call: ToolAnswer) -> str:
    """Return what answered a call: one of the ledger's sources; `live` for a source of another kind."""
    if call.failure is not None or call.provenance is None:
        return "unanswered"
    return call.provenance if call.provenance in get_args(Provenance) else "live"
