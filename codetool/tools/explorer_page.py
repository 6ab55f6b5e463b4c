"""A page that lists the operations of `openapi.json` beside it, each with a form to try it.

It is one file without dependencies, so that it works where no network is.
"""

from __future__ import annotations

from pathlib import Path


def load_explorer_page() -> str:
    """The page as HTML."""
    return Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
