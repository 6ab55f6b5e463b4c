"""Count tool answers by source and by failure, for a task and for a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from codetool.tools.allow_list import extract_host
from codetool.types import ToolAnswer


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Number of tool calls, by the source that answered and by the failure that replaced an answer."""

    calls: int
    provenance: Mapping[str, int]
    failures: Mapping[str, int]
    cache: Mapping[str, int] = field(default_factory=dict)
    """Number of calls that looked into the published answers, by how they were found (`exact`, `canonical`, …)."""

    def __str__(self) -> str:
        """The counts as text: `12 calls: 11 recorded, 1 miss; published answers: 9 exact, 2 canonical, …`."""
        parts = [f"{count} {name}" for name, count in {**self.provenance, **self.failures}.items()]
        published = ", ".join(f"{count} {name}" for name, count in self.cache.items())
        text = f"{self.calls} call{'' if self.calls == 1 else 's'}" + (f": {', '.join(parts)}" if parts else "")
        return f"{text}; published answers: {published}" if published else text


@dataclass(slots=True)
class AnswerTally:
    """Running counts of tool answers."""

    provenance: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    calls_by_host: Counter[str] = field(default_factory=Counter)
    """Number of calls by host; calls that were refused before any source was asked are left out."""
    misses_by_host: Counter[str] = field(default_factory=Counter)
    """Number of those calls that no source answered, by host."""

    def count(self, answer: ToolAnswer) -> None:
        """Count one answer by its failure, or by its source if it has none."""
        host = extract_host(answer.call.url)
        if host and answer.failure in (None, "miss", "unreachable"):
            self.calls_by_host[host] += 1
            self.misses_by_host[host] += answer.failure == "miss"
        if answer.failure:
            self.failures[answer.failure] += 1
        else:
            self.provenance[answer.provenance or "unknown"] += 1

    def summary(self) -> AnswerCounts:
        """The counts so far, with names in alphabetical order."""
        calls = self.provenance.total() + self.failures.total()
        return AnswerCounts(calls, dict(sorted(self.provenance.items())), dict(sorted(self.failures.items())))

    def __add__(self, other: Self) -> AnswerTally:
        """The sum of two tallies."""
        return AnswerTally(
            self.provenance + other.provenance,
            self.failures + other.failures,
            self.calls_by_host + other.calls_by_host,
            self.misses_by_host + other.misses_by_host,
        )


@dataclass(frozen=True, slots=True)
class BrokerCounts:
    """What the broker of a run has answered so far, or the brokers of all its processes together."""

    tally: AnswerTally = field(default_factory=AnswerTally)
    cache: Counter[str] = field(default_factory=Counter)
    """Number of calls by how the published answers were found."""
    recorded: int = 0
    """Number of recorded answers that can be read."""

    def summary(self) -> AnswerCounts:
        """The counts, with names in alphabetical order."""
        return replace(self.tally.summary(), cache=dict(sorted(self.cache.items())))

    def __add__(self, other: Self) -> BrokerCounts:
        """The sum over two processes, which read the same recorded answers."""
        return BrokerCounts(self.tally + other.tally, self.cache + other.cache, max(self.recorded, other.recorded))
