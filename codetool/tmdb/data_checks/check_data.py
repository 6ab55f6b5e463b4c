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

from codetool.tmdb.catalog_dependency import Catalog
from codetool.tmdb.data_checks import biographies, lines, references, text, titles
from codetool.tmdb.data_checks.finding import Finding
from codetool.tmdb.store import FOLDER, load_store

AS_OF = date(2024, 6, 1)
"""The day that counts as today: `as_of` of `conf/replica/tmdb.yaml`, and a test holds the two together."""
RULES: Sequence[Callable[[Catalog], Iterator[Finding]]] = (
    references.find_unknown_names,
    references.find_unused_records,
    references.find_accent_variants,
    references.find_same_title_and_year,
    references.find_listed_twice,
    references.find_small_collections,
    text.find_unknown_codes,
    text.find_untidy_texts,
    text.find_wrong_homepages,
    biographies.find_impossible_lives,
    biographies.find_work_before_birth,
    biographies.find_acting_after_death,
    biographies.find_young_directors,
    titles.find_numbers_out_of_range,
    titles.find_numbers_below_one,
    titles.find_wrong_release_days,
    titles.find_unordered_seasons,
    titles.find_wrong_last_days,
    titles.find_misplaced_episodes,
    titles.find_unordered_episodes,
)
"""What holds between records."""


def check_folder(folder: Path = FOLDER, as_of: date = AS_OF) -> Sequence[Finding]:
    """All that is wrong with the data in a folder; while a line cannot be read, only what cannot be read."""
    if unreadable := [*lines.find_unreadable(folder)]:
        return unreadable
    here = Catalog(load_store(folder), as_of)
    return [*lines.find_misplaced(folder), *(found for rule in RULES for found in rule(here))]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if nothing is wrong, 1 if something is, 2 if the folder is none."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.tmdb.data_checks.check_data", description="Finds errors in the data."
    )
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the data files (the replica's own)")
    parser.add_argument("--as-of", type=_parse_day, default=AS_OF, help="day that counts as today (%(default)s)")
    chosen = parser.parse_args(arguments)
    if not chosen.data.is_dir():
        parser.error(f"--data {chosen.data} is no folder; name one that holds the replica's data files")
    found = check_folder(chosen.data, chosen.as_of)
    for finding in found:
        print(finding)
    print(f"{len(found)} findings in {chosen.data}", file=sys.stderr)
    return 1 if found else 0


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write YYYY-MM-DD") from error


if __name__ == "__main__":
    sys.exit(main())
