"""Dates in a text, whatever their style, as ISO days."""

from __future__ import annotations

import re
from datetime import date

MONTHS = {
    name: number
    for number, names in enumerate(
        "january jan|february feb|march mar|april apr|may|june jun|july jul|august aug|september sept sep|october oct"
        "|november nov|december dec".split("|"),
        start=1,
    )
    for name in names.split()
}
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})\.?"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(?P<year>\d{4})"
STYLES = tuple(
    re.compile(rf"(?<!\d){style}(?!\d)", re.I)
    for style in (
        r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})",
        rf"\b{MONTH}\s+{DAY}\s*,?\s+{YEAR}",
        rf"{DAY}(?:\s+(?:of\s+)?|-){MONTH}(?:,?\s+|-){YEAR}",
        rf"{YEAR}\s+{MONTH}\s+{DAY}",
        r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})",
        r"(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})",
        r"(?P<day>\d{1,2})-(?P<month>\d{1,2})-(?P<year>\d{4})",
        r"date\((?P<year>\d{4}), (?P<month>\d{1,2}), (?P<day>\d{1,2})\)",
    )
)


def dates(text: str) -> set[str]:
    """All days that the text names: `July 16, 2008`, `16 July 2008`, `2008-07-16`, `7/16/2008`, `16.7.2008`.

    Slashes are read month first, the American way, and hyphens in `16-7-2008` day first, unless that is no date.
    """
    return set(dates_in_order(text))


def dates_in_order(text: str) -> list[str]:
    """The days that the text names, as often as it names them, in its order."""
    found = {hit.start(): day for style in STYLES for hit in style.finditer(text) if (day := _day(hit)) is not None}
    return [day for _, day in sorted(found.items())]


def _day(hit: re.Match[str]) -> str | None:
    year, month, day = int(hit["year"]), hit["month"].lower(), int(hit["day"])
    number = MONTHS[month] if month in MONTHS else int(month)
    readings = [(number, day)]
    if re.match(r"\d{1,2}[/-]", hit.group()):
        readings.append((day, number))
    for one, two in readings:
        try:
            return date(year, one, two).isoformat()
        except ValueError:
            continue
    return None
