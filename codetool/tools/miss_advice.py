"""Advice for hosts most of whose calls no source answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from codetool.tools.answer_counts import AnswerTally


class SourceSettings(Protocol):
    """The broker settings that decide which sources are asked."""

    @property
    def mode(self) -> str:
        """One of `offline`, `strict`, `simulated`, `live`."""
        ...

    @property
    def replica(self) -> object | None:
        """The embedded copy of the service."""
        ...

    @property
    def recorded_answers(self) -> object | None:
        """The source of published answers."""
        ...


def advise_on_misses(tally: AnswerTally, sources: SourceSettings, recorded: int) -> Iterator[str]:
    """A line for each host where more than half of the calls missed. `recorded` is the number of recorded answers."""
    for host, calls in sorted(tally.calls_by_host.items()):
        if (missed := tally.misses_by_host[host]) * 2 > calls:
            yield (
                f"nobody answers for {host} in tools.mode={sources.mode}: {missed} of {calls} calls missed. "
                f"{_describe_sources(sources, recorded)}; {_suggest_mode(sources)}"
            )


def _describe_sources(sources: SourceSettings, recorded: int) -> str:
    plural = "" if recorded == 1 else "s"
    names = [f"{recorded:,} recorded answer{plural} (tools.recordings)"]
    names += ["published answers (tools.recorded_answers)"] if sources.recorded_answers else []
    if sources.mode in ("offline", "simulated") and sources.replica:
        names.append("the embedded replica (tools.replica), which knows another service")
    names += ["a simulator"] if sources.mode == "simulated" else []
    return f"The sources were {', '.join(names)}"


def _suggest_mode(sources: SourceSettings) -> str:
    live = "tools.mode=live asks the service itself and records what it says"
    if sources.mode == "live":
        return "the call has no address that could be asked"
    if sources.mode == "strict" and sources.replica:
        return f"tools.mode=offline asks the embedded replica too, and {live}"
    if sources.mode == "simulated":
        return live
    return f"{live}, and tools.mode=simulated simulator=openai simulator.model=NAME lets a model make answers up"
