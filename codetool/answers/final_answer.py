"""The final answer of a path: the text that checkers compare."""

from __future__ import annotations

from codetool.prompts.step_format import strip_markers
from codetool.types import Node, SearchResult

LIMIT = 2_000
"""Characters of an answer that count."""


def final_answer(node: Node) -> str | None:
    """What the path's last step printed, stripped, or its own words if it has no code; None for an unfinished path."""
    if not node.finished or node.step is None:
        return None
    if node.step.code is None:
        return strip_markers(node.step.text)[:LIMIT]
    return node.execution.printed.strip()[:LIMIT] if node.execution else ""


def last_printed(node: Node) -> str | None:
    """What the last step of a path printed, finished or not; None if it failed, printed nothing or is not there."""
    ran = node.execution is not None and node.execution.ran
    return (node.execution.printed.strip()[:LIMIT] or None) if ran and node.execution else None


def answer_of(result: SearchResult) -> str | None:
    """The final answer of a search: the composed one if there is one, else that of its path."""
    return final_answer(result.best) if result.composed is None else result.composed[:LIMIT]
