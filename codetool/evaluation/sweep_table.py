"""Read `cells.csv`, the table of a sweep: the swept options, the numbers and the run folder of each cell."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codetool.errors import ConfigError
from codetool.runs.bounded_input import read_text

TABLE_FILE = "cells.csv"
STATUS_COLUMN, FOLDER_COLUMN = "status", "folder"


@dataclass(frozen=True)
class SweepRow:
    """The row of one cell."""

    options: Mapping[str, str]
    """Value of each swept option."""
    status: str
    """`done`, or the reason why the cell or some of its tasks failed."""
    numbers: Mapping[str, str]
    """Text of every other column, such as a metric and its bounds, by the column's name."""
    folder: Path | None
    """Run folder; None if there is none."""


def read_sweep_table(folder: Path, named: str = "") -> list[SweepRow]:
    """Return the rows of a sweep's table, at least one.

    `named` is what the user wrote to name the folder, such as `dashboard.sweep=FOLDER`, for messages. Raises
    ConfigError if the folder is none of a sweep that has ended.
    """
    file = folder / TABLE_FILE
    if not file.is_file():
        reason = "there is no such folder" if not folder.is_dir() else f"there is no {TABLE_FILE} in it"
        raise ConfigError(
            f"{named or folder} is no folder of a sweep that has ended: {reason}. A command with -m makes one in "
            "outputs/sweeps."
        )
    try:
        rows = list(csv.DictReader(read_text(file).splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not rows or STATUS_COLUMN not in rows[0] or FOLDER_COLUMN not in rows[0]:
        raise ConfigError(
            f"{file} is not the table of a sweep: it needs rows, with {STATUS_COLUMN} and {FOLDER_COLUMN}."
        )
    names = list(rows[0])
    swept = names[: names.index(STATUS_COLUMN)]
    return [_parse_row(row, swept, folder) for row in rows]


def _parse_row(row: Mapping[str, str | None], swept: Sequence[str], folder: Path) -> SweepRow:
    other = {name: text or "" for name, text in row.items() if name and name not in swept}
    return SweepRow(
        options={name: row[name] or "" for name in swept},
        status=other.pop(STATUS_COLUMN),
        folder=_find_run_folder(other.pop(FOLDER_COLUMN), folder),
        numbers=other,
    )


def _find_run_folder(text: str, sweep: Path) -> Path | None:
    """Find a cell's run folder, also if the outputs have been moved since the sweep, or are seen from elsewhere."""
    if not text:
        return None
    named = Path(text)
    moved = sweep.resolve().parent.parent / named.parent.name / named.name
    return next((folder for folder in (named, moved) if folder.is_dir()), None)
