"""What tasks are expected to cost, and the lines that say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from codetool.stages.progress import format_duration

COMPONENTS = {"policy": "policy", "prm": "PRM", "answer": "answer", "simulator": "simulator", "judge": "judge"}
"""Components of models with the word for each."""


@dataclass(frozen=True)
class Estimate:
    """Expected cost of some tasks. Amounts by the search's bound are maxima, measured ones are means."""

    tasks: int
    """Number of tasks that it is the cost of."""
    basis: Literal["bound", "measured", "votes"]
    """`bound`: the most that the search may ask for; `votes`: the most that a judge's votes may. `measured`: what
    finished tasks of the folder took."""
    measured: int = 0
    """Number of finished tasks that were measured."""
    calls: Mapping[str, float] = field(default_factory=dict)
    """Number of calls by what is called; a kind whose number is unknown is missing."""
    tokens: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Prompt tokens and new tokens by component."""
    seconds: float | None = None
    """Wall seconds of all tasks; None if unknown."""
    usd: float | None = None
    """Price in USD; None if unknown."""
    flops: float | None = None
    """Floating-point operations of policy, PRM and answer; None if unknown."""
    spread: float | None = None
    """Half the width of the 95 % interval of the tokens, as a share of them; None if unknown."""
    assumptions: Sequence[str] = ()

    @property
    def total_tokens(self) -> float:
        """Tokens of all components, read and written."""
        return sum(read + written for read, written in self.tokens.values())

    def encode(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return asdict(self) | {"tokens": {name: list(pair) for name, pair in self.tokens.items()}}


def describe_estimate(estimate: Estimate) -> Iterator[str]:
    """Yield the lines that a dry run prints of an estimate."""
    if not estimate.tasks:
        yield f"expected: nothing, all {'votes' if estimate.basis == 'votes' else 'tasks'} are done"
        return
    most = "" if estimate.basis == "measured" else "at most "
    bounds = {"bound": "the search's upper bound", "votes": "the lengths of the judge's prompts"}
    how = bounds.get(estimate.basis, f"what {estimate.measured} finished tasks took")
    yield f"expected for {estimate.tasks} task{'' if estimate.tasks == 1 else 's'}, by {how}:"
    calls = ", ".join(f"{count:,.0f} {name}" for name, count in estimate.calls.items())
    yield f"  calls: {most}{calls or 'none'}"
    parts = [
        f"{COMPONENTS.get(name, name)} {read:,.0f} in" + (f" + {written:,.0f} out" if name != "prm" else "")
        for name, (read, written) in estimate.tokens.items()
        if read or written
    ]
    spread = f" (± {100 * estimate.spread:.0f} %)" if estimate.spread is not None else ""
    yield f"  tokens: {most}{', '.join(parts) or '0'}{spread}"
    unknown = "unknown before a few tasks are done" if estimate.basis == "bound" else "unknown"
    yield f"  time: {unknown if estimate.seconds is None else format_duration(estimate.seconds)}"
    yield f"  USD: {'no model has a price' if estimate.usd is None else f'{most}{estimate.usd:,.4f}'}"
    if estimate.flops is not None:
        yield f"  FLOPs: {most}{estimate.flops:.3g}"
    yield from (f"  assumed: {assumption}" for assumption in estimate.assumptions)
