"""Extract the final answer of a path, which answer checkers compare with the reference."""

from __future__ import annotations

from codetool.prompts.step_format import strip_markers
from codetool.types import Node, SearchResult

MAX_ANSWER_CHARS = 2_000
"""Maximum number of characters of an answer; the rest is cut off."""


def extract_path_answer(node: Node) -> str | None:
    """Return the stripped output of the path's last step, or its text if it has no code; None if unfinished."""
    if not node.finished or node.step is None:
        return None
    if node.step.code is None:
        return strip_markers(node.step.text)[:MAX_ANSWER_CHARS]
    return node.execution.printed.strip()[:MAX_ANSWER_CHARS] if node.execution else ""


def extract_last_output(node: Node) -> str | None:
    """Return the output of a path's last step, finished or not; None if it failed, printed nothing or is absent."""
    ran = node.execution is not None and node.execution.ran
    return (node.execution.printed.strip()[:MAX_ANSWER_CHARS] or None) if ran and node.execution else None


def extract_answer(result: SearchResult) -> str | None:
    """Return the final answer of a search: the composed answer if there is one, else the answer of its best path."""
    return extract_path_answer(result.best) if result.composed is None else result.composed[:MAX_ANSWER_CHARS]
