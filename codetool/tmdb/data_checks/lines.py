"""Check the lines of the data files: readable, with the right fields, unique and sorted.

Findings name file and line. The other checks compare records with each other, and need readable files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from codetool.tmdb.data_checks.finding import Finding
from codetool.tmdb.records import Episode, Movie, Show
from codetool.tmdb.store import FILES

RECORDS: Mapping[str, Any] = {"movies.jsonl": Movie, "shows.jsonl": Show, "episodes.jsonl": Episode}
COLUMNS = {
    "people.csv": (
        *("id", "name", "gender", "department", "birthday", "deathday", "place_of_birth", "popularity"),
        "also_known_as",
    ),
    "collections.csv": ("id", "name"),
    "companies.csv": ("id", "name", "headquarters", "origin_country", "homepage"),
    "networks.csv": ("id", "name", "headquarters", "origin_country", "homepage"),
    "genres.csv": ("kind", "id", "name"),
    "keywords.csv": ("id", "name"),
}
OPTIONAL_COLUMNS = {"networks.csv": ("headquarters",), "people.csv": ("also_known_as",)}
NUMBERS = {"id": int, "gender": int, "popularity": float}
DAYS = ("release_date", "last_air_date", "air_date", "birthday", "deathday")
OPTIONAL_DAYS = {
    ("shows.jsonl", "last_air_date"),
    ("episodes.jsonl", "air_date"),
    ("people.csv", "birthday"),
    ("people.csv", "deathday"),
}
"""Dates that may be empty, because they are unknown or in the future."""
KEYS = {"episodes.jsonl": ("show", "season", "number"), "genres.csv": ("kind", "id")}
"""Columns that identify a row of a file, if not `id`."""
UNIQUE_NAMES = ("people.csv", "collections.csv", "companies.csv", "networks.csv", "genres.csv", "keywords.csv")
"""Files whose rows are referenced by name."""
UNSORTED = ("genres.csv",)
"""Files that are not sorted by their key."""


@dataclass(frozen=True, slots=True)
class Line:
    """A readable line: its number and its fields."""

    number: int
    """Line number from 1, counting the header of a CSV file; the last line of a row that spans several."""
    row: Mapping[str, Any]


def find_unreadable(folder: Path) -> Iterator[Finding]:
    """Find missing files and lines that are no valid record. No other check can run before they are corrected."""
    for file in FILES:
        for line in _read_lines(folder, file):
            if isinstance(line, Finding):
                yield line


def find_misplaced(folder: Path) -> Iterator[Finding]:
    """Find duplicate and unsorted rows, in readable files."""
    for file in FILES:
        lines = [line for line in _read_lines(folder, file) if isinstance(line, Line)]
        keys = KEYS.get(file, ("id",))
        yield from _find_duplicates(file, lines, keys)
        if file in UNIQUE_NAMES:
            yield from _find_duplicates(file, lines, ("kind", "name") if file == "genres.csv" else ("name",))
        if file not in UNSORTED:
            yield from _find_unsorted(file, lines, keys)


def _find_duplicates(file: str, lines: Sequence[Line], keys: Sequence[str]) -> Iterator[Finding]:
    first_lines: dict[tuple[Any, ...], int] = {}
    for line in lines:
        key = tuple(line.row[name] for name in keys)
        if key in first_lines:
            key_text = " ".join(map(str, key))
            yield _make_line_finding(
                file, line.number, f"{' '.join(keys)} {key_text} stands already in line {first_lines[key]}"
            )
        first_lines.setdefault(key, line.number)


def _find_unsorted(file: str, lines: Sequence[Line], keys: Sequence[str]) -> Iterator[Finding]:
    for before, line in zip(lines, lines[1:], strict=False):
        if [line.row[name] for name in keys] < [before.row[name] for name in keys]:
            yield _make_line_finding(
                file, line.number, f"not sorted by {', '.join(keys)}: it belongs before line {before.number}"
            )


def _read_lines(folder: Path, file: str) -> Iterator[Line | Finding]:
    try:
        text = (folder / file).read_bytes().decode("utf-8")
    except FileNotFoundError:
        yield Finding(file, "file", f"is not in {folder}")
    except UnicodeDecodeError as error:
        yield Finding(file, "file", f"is not UTF-8: {error.reason} at byte {error.start}")
    else:
        yield from _parse_table(file, text) if file in COLUMNS else _parse_objects(file, text)


def _parse_objects(file: str, text: str) -> Iterator[Line | Finding]:
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        try:
            row = json.loads(line, object_pairs_hook=_refuse_repeated_keys)
        except ValueError as error:  # broken JSON, or a key twice
            yield _make_line_finding(file, number, f"is no JSON object: {error}")
            continue
        wrong = [*_describe_object_errors(file, row)]
        yield from (_make_line_finding(file, number, reason) for reason in wrong)
        if not wrong:
            yield Line(number, row)


def _refuse_repeated_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in it")
    return row


def _describe_object_errors(file: str, row: Any) -> Iterator[str]:
    if not isinstance(row, dict):
        yield "is no JSON object"
        return
    field_names = {field.name for field in fields(RECORDS[file])}
    for name in sorted(set(row) - field_names):
        yield f"{name} is no field of it; its fields are {', '.join(sorted(field_names))}"
    try:
        TypeAdapter(RECORDS[file]).validate_json(json.dumps(_name_season_fields(row)), strict=True)
    except ValidationError as error:
        for detail in error.errors():
            yield f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].lower()}"
        return
    if row.get("seasons") == []:
        yield "seasons: a show has at least one"
    yield from _describe_day_errors(_iterate_days(file, row))


def _name_season_fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
    seasons = row.get("seasons")
    return {**row, "seasons": [_name_fields(entry) for entry in seasons]} if isinstance(seasons, list) else row


def _name_fields(entry: Any) -> Any:
    """Return a season with the field names of its record; anything else unchanged."""
    if isinstance(entry, list) and len(entry) == 2:
        return {"air_date": entry[0], "episodes": entry[1]}
    return entry


def _parse_table(file: str, text: str) -> Iterator[Line | Finding]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [*(reader.fieldnames or ())]
    expected = [name for name in COLUMNS[file] if name in columns or name not in OPTIONAL_COLUMNS.get(file, ())]
    if sorted(columns) != sorted(expected):
        yield _make_line_finding(file, 1, f"its columns are to be {','.join(expected)}")
        return
    for row in reader:
        wrong = [*_describe_row_errors(file, row)]
        yield from (_make_line_finding(file, reader.line_num, reason) for reason in wrong)
        if not wrong:
            yield Line(reader.line_num, {name: NUMBERS.get(name, str)(value) for name, value in row.items()})


def _describe_row_errors(file: str, row: Mapping[str, Any]) -> Iterator[str]:
    if None in row or None in row.values():
        yield "has not a value for each column; one with a comma in it stands in double quotes"
        return
    for name in NUMBERS.keys() & row.keys():
        try:
            NUMBERS[name](row[name])
        except ValueError:
            yield f"{name}: {row[name]!r} is no number"
    if row.get("kind", "tv") not in ("movie", "tv"):
        yield f"kind: {row['kind']!r} is neither movie nor tv"
    yield from _describe_day_errors(_iterate_days(file, row))


def _iterate_days(file: str, row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each date of a row with the name of its field."""
    for name in DAYS:
        if name in row and (row[name] or (file, name) not in OPTIONAL_DAYS):
            yield name, row[name]
    for country, day in row.get("releases", {}).items():
        yield f"releases.{country}", day
    for number, season in enumerate(row.get("seasons", ()), start=1):
        yield f"season {number}", season[0]


def _describe_day_errors(days: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, day in days:
        try:
            is_valid = date.fromisoformat(day).isoformat() == day
        except ValueError:
            is_valid = False
        if not is_valid:
            yield f"{name}: {day!r} is no day; write YYYY-MM-DD"


def _make_line_finding(file: str, number: int, wrong: str) -> Finding:
    return Finding(file, f"line {number}", wrong)
