"""The markers of the step format, fixed here because parsers, scripted servers and trained models know them."""

from __future__ import annotations

import re

ALL_FINISHED = "[All Finished]"
"""Marks the last step of a path; it stands before the step's own closing marker."""

_MARKERS = re.compile(
    r"^#+\s*Step\s*\d+\s*:?|\[Step\s*\d+\s*Finished\]|\[All\s+Finished\]|^[ \t]*Python Code:[ \t]*$", re.MULTILINE
)


def format_stop_marker(k: int) -> str:
    """The marker that closes step k (one-based); also the stop string of its generation."""
    return f"[Step {k} Finished]"


def strip_markers(text: str) -> str:
    """The text of a step without its markers, stripped: the answer of a final step that has no code."""
    return _MARKERS.sub("", text).strip()
