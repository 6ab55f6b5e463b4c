"""Count what models are really asked: the tokens of every response, also of those that no result counts.

The client of each model reports each response under the name of its component (`policy`, `prm`, `answer`, `judge`,
`simulator`). A report goes to the collector of the run, and to every tally that is open where it happens. A ledger
counts what a result has cost; the difference is what was lost: attempts that were killed or failed, responses that
could not be used, and first requests by which a model is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

Usage = Mapping[str, Mapping[str, int]]
"""Amounts by component and name: `requests`, `tokens_in`, `tokens_in_cached` and `tokens_out`."""


@dataclass(eq=False)
class UsageTally:
    """Sum of the reports of one task, call or run."""

    amounts: dict[str, Counter[str]] = field(default_factory=dict)
    """Amounts by component and name."""

    def add(self, usage: Usage) -> None:
        """Add a report."""
        for component, amounts in usage.items():
            self.amounts.setdefault(component, Counter()).update(amounts)

    def get(self, component: str, name: str) -> int:
        """Return one amount; 0 if it was not reported."""
        return self.amounts.get(component, Counter[str]())[name]


_collector: ContextVar[Callable[[Usage], None] | None] = ContextVar("usage_collector", default=None)
_tallies: ContextVar[tuple[UsageTally, ...]] = ContextVar("usage_tallies", default=())
_component: ContextVar[str | None] = ContextVar("usage_component", default=None)


@contextmanager
def collect_usage(on_report: Callable[[Usage], None]) -> Iterator[None]:
    """Pass all reports on while the context is open, also those of tasks and threads started in it."""
    token = _collector.set(on_report)
    try:
        yield
    finally:
        _collector.reset(token)


@contextmanager
def tally_usage(tally: UsageTally | None = None) -> Iterator[UsageTally]:
    """Add the reports made in this context to a tally, by default a new one."""
    tally = UsageTally() if tally is None else tally
    token = _tallies.set((*_tallies.get(), tally))
    try:
        yield tally
    finally:
        _tallies.reset(token)


@contextmanager
def report_as(component: str) -> Iterator[None]:
    """Count what is reported in this context for a component, such as the answer that the policy composes."""
    token = _component.set(component)
    try:
        yield
    finally:
        _component.reset(token)


def report_usage(component: str, tokens_in: int, tokens_out: int, tokens_in_cached: int = 0, requests: int = 1) -> None:
    """Report the responses of a model, with the tokens that it read and wrote for them."""
    amounts = {
        "requests": requests,
        "tokens_in": tokens_in,
        "tokens_in_cached": tokens_in_cached,
        "tokens_out": tokens_out,
    }
    usage = {_component.get() or component: {name: amount for name, amount in amounts.items() if amount}}
    for tally in dict.fromkeys(_tallies.get()):
        tally.add(usage)
    if (collector := _collector.get()) is not None:
        collector(usage)
