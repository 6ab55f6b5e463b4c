"""Extract dates in any common format from a text, as ISO dates."""

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


def extract_dates(text: str) -> set[str]:
    """Return all dates in the text as ISO dates: `July 16, 2008`, `16 July 2008`, `7/16/2008`, `16.7.2008` and others.

    With slashes the month comes first (US format), with hyphens as in `16-7-2008` the day, unless that is no date.
    """
    return set(extract_dates_in_order(text))


def extract_dates_in_order(text: str) -> list[str]:
    """Return the dates in the text in their order, with repetitions."""
    dates_by_position = {
        match.start(): day
        for style in STYLES
        for match in style.finditer(text)
        if (day := _parse_date(match)) is not None
    }
    return [day for _, day in sorted(dates_by_position.items())]


def _parse_date(match: re.Match[str]) -> str | None:
    year, month, day = int(match["year"]), match["month"].lower(), int(match["day"])
    number = MONTHS[month] if month in MONTHS else int(month)
    readings = [(number, day)]
    if re.match(r"\d{1,2}[/-]", match.group()):
        readings.append((day, number))
    for one, two in readings:
        try:
            return date(year, one, two).isoformat()
        except ValueError:
            continue
    return None
