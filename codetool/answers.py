"""The final answer of a path: the text that checkers compare."""

from __future__ import annotations

from codetool.markers import words
from codetool.types import Node

LIMIT = 2_000
"""Characters of an answer that count."""


def final_answer(node: Node) -> str | None:
    """What the path's last step printed, stripped, or its own words if it has no code; None for an unfinished path."""
    if not node.finished or node.step is None:
        return None
    if node.step.code is None:
        return words(node.step.text)[:LIMIT]
    return node.execution.observation.strip()[:LIMIT] if node.execution else ""
