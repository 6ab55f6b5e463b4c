"""The HTML page that lists the operations of the `openapi.json` served beside it, each with a form to try it.

The page is a single file without dependencies, so that it works without a network.
"""

from __future__ import annotations

from pathlib import Path


def load_explorer_page() -> str:
    """The page as HTML text."""
    return Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
