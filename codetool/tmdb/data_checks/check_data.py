"""Check the replica's data: `python -m codetool.tmdb.data_checks.check_data [--data FOLDER] [--as-of DAY]`.

Prints a line for each finding, `file: record: what is wrong`, and ends with exit code 1 if there is any. It finds what
contradicts itself or cannot be; that a birthday is the wrong day it cannot know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

from codetool.tmdb.catalog_dependency import Catalogue
from codetool.tmdb.data_checks import biographies, lines, references, text, titles
from codetool.tmdb.data_checks.finding import Finding
from codetool.tmdb.store import FOLDER, load

AS_OF = date(2024, 6, 1)
"""The day that counts as today: `as_of` of `conf/replica/tmdb.yaml`, and a test holds the two together."""
RULES: Sequence[Callable[[Catalogue], Iterator[Finding]]] = (
    references.unknown_names,
    references.unused_records,
    references.same_but_for_accents,
    references.same_title_and_year,
    references.listed_twice,
    references.lonely_collections,
    text.unknown_codes,
    text.untidy_texts,
    text.wrong_homepages,
    biographies.impossible_lives,
    biographies.work_before_birth,
    biographies.acting_after_death,
    biographies.young_directors,
    titles.numbers_out_of_range,
    titles.numbers_below_one,
    titles.wrong_release_days,
    titles.seasons_out_of_order,
    titles.wrong_last_days,
    titles.misplaced_episodes,
    titles.episodes_out_of_order,
)
"""What holds between records."""


def findings(folder: Path = FOLDER, as_of: date = AS_OF) -> Sequence[Finding]:
    """All that is wrong with the data in a folder; while a line cannot be read, only what cannot be read."""
    if unreadable := [*lines.unreadable(folder)]:
        return unreadable
    here = Catalogue(load(folder), as_of)
    return [*lines.out_of_order(folder), *(found for rule in RULES for found in rule(here))]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if nothing is wrong, 1 if something is, 2 if the folder is none."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.tmdb.data_checks.check_data", description="Finds errors in the data."
    )
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the data files (the replica's own)")
    parser.add_argument("--as-of", type=_day, default=AS_OF, help="day that counts as today (%(default)s)")
    chosen = parser.parse_args(arguments)
    if not chosen.data.is_dir():
        parser.error(f"--data {chosen.data} is no folder; name one that holds the replica's data files")
    found = findings(chosen.data, chosen.as_of)
    for finding in found:
        print(finding)
    print(f"{len(found)} findings in {chosen.data}", file=sys.stderr)
    return 1 if found else 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write YYYY-MM-DD") from error


if __name__ == "__main__":
    sys.exit(main())
