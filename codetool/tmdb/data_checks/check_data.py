"""Check the replica's data: `python -m codetool.tmdb.data_checks.check_data [--data FOLDER] [--as-of DAY]`.

Prints one line per finding, `file: record: what is wrong`, and exits with code 1 if there is any. It finds
contradictions and impossible values, but not plausible wrong facts such as a wrong birthday.
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
"""Date that counts as today: `as_of` of `conf/replica/tmdb.yaml`; a test compares the two."""
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
"""Checks over all records."""


def check_folder(folder: Path = FOLDER, as_of: date = AS_OF) -> Sequence[Finding]:
    """Return all findings in the data of a folder; if lines are unreadable, only those."""
    if unreadable := [*lines.find_unreadable(folder)]:
        return unreadable
    here = Catalog(load_store(folder), as_of)
    return [*lines.find_misplaced(folder), *(finding for rule in RULES for finding in rule(here))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return the exit code: 0 without findings, 1 with findings; 2 if the folder does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.tmdb.data_checks.check_data", description="Finds errors in the data."
    )
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder with the data files (the replica's own)")
    parser.add_argument("--as-of", type=_parse_day, default=AS_OF, help="day that counts as today (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.data.is_dir():
        parser.error(f"--data {options.data} is no folder; name one that holds the replica's data files")
    findings = check_folder(options.data, options.as_of)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings in {options.data}", file=sys.stderr)
    return 1 if findings else 0


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write YYYY-MM-DD") from error


if __name__ == "__main__":
    sys.exit(main())
