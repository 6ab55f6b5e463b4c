"""Render a dashboard as one HTML page that a browser opens from disk: figures and style are inside, no script runs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codetool.evaluation.html_templates import load_template, read_markup

FOLDER = Path(__file__).parent / "page"


@dataclass(frozen=True)
class Card:
    """A number that the page begins with."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class TableCell:
    """A cell of a table. `link` is a relative address."""

    text: str
    link: str | None = None


@dataclass(frozen=True)
class PageTable:
    """A table; the columns in `numeric` are aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[TableCell]]
    numeric: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A figure of the page."""

    name: str
    """Name of its file, without an ending."""
    title: str
    svg: bytes

    @property
    def source(self) -> str:
        """The figure as the address of an image."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str = ""
    figures: Sequence[Figure] = ()
    table: PageTable | None = None


@dataclass(frozen=True)
class DashboardPage:
    """What the page says, from top to bottom."""

    title: str
    state: str
    notes: Sequence[str]
    cards: Sequence[Card]
    sections: Sequence[Section]


def render_page(page: DashboardPage) -> bytes:
    """Return the page. All texts are escaped."""
    style = read_markup(FOLDER / "style.css")
    text = load_template(FOLDER / "dashboard.html.jinja").render(page=page, style=style)
    return text.encode("utf-8", "replace")
