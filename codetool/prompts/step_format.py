"""The markers of the step format. They are constants because parsers and trained models depend on them."""

from __future__ import annotations

import re

ALL_FINISHED = "[All Finished]"
"""Marks the last step of a path. It precedes the step's closing marker."""

_MARKERS = re.compile(
    r"^#+\s*Step\s*\d+\s*:?|\[Step\s*\d+\s*Finished\]|\[All\s+Finished\]|^[ \t]*Python Code:[ \t]*$", re.MULTILINE
)


def format_stop_marker(k: int) -> str:
    """Return the marker that closes step k (one-based), which is also the stop string of its generation."""
    return f"[Step {k} Finished]"


def strip_markers(text: str) -> str:
    """Return the text of a step without markers, stripped. For a final step without code this is the answer."""
    return _MARKERS.sub("", text).strip()
