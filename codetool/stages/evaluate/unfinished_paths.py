"""Unfinished paths: whether their last output is their answer, and advice if most tasks end so."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.interfaces import PrintedAnswer

log = logging.getLogger(__name__)


def takes_last_output(config: RunConfig) -> bool:
    """Return whether the answer of an unfinished path is what its last step printed."""
    return isinstance(config.answer, PrintedAnswer) and config.answer.unfinished == "last_printed"


def warn_about_unfinished(results: Iterable[Mapping[str, Any]], uses_last_output: bool) -> None:
    """Log advice if most tasks end unfinished, without an answer."""
    lines = list(results)
    unfinished = sum((line.get("error") or {}).get("kind") == "unfinished" for line in lines)
    if 2 * unfinished > len(lines):
        log.warning(
            "%d of %d tasks ended unfinished: no step of theirs carries [All Finished]. More steps help with "
            "search.depth=, and %s.",
            unfinished,
            len(lines),
            "answer.unfinished=last_printed found no output of their last steps"
            if uses_last_output
            else "answer.unfinished=last_printed takes what the last step printed for the answer",
        )
