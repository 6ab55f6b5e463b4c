"""What prompts show of an executed step: its output, cut to a number of characters."""

from __future__ import annotations

from codetool.types import Execution, Node, Step, format_stderr


def require_executed(node: Node) -> tuple[Step, Execution]:
    """Return the step of a node and its execution. Raises ValueError if the node has no step or was not executed."""
    if node.step is None or node.execution is None:
        raise ValueError(f"node {node.id} has no executed step; a path starts below the root and is executed")
    return node.step, node.execution


def truncate_output(execution: Execution, limit: int) -> tuple[str, int]:
    """Return an observation of at most `limit` characters, and how many characters were cut off.

    The text that the step wrote to `sys.stderr` is kept at the end, in up to half of the characters, because it is
    the most informative part.
    """
    output = execution.observation.strip()
    if len(output) <= limit or not execution.stderr:
        return output[:limit], max(0, len(output) - limit)
    written = execution.stderr.rstrip()
    kept = format_stderr(written[max(0, len(written) - limit // 2) :])[-limit:]
    printed = execution.printed.strip()
    shown = printed[: max(0, limit - len(kept) - 1)]
    return f"{shown}\n{kept}" if shown else kept, len(printed) - len(shown)
