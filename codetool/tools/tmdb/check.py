"""What is wrong with the replica's data: `python -m codetool.tools.tmdb.check [--data FOLDER] [--as-of DAY]`.

Prints a line for each finding, `file: record: what is wrong`, and ends with exit code 1 if there is any. It finds what
contradicts itself or cannot be; that a birthday is the wrong day it cannot know.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

from codetool.tools.tmdb import check_lines, check_lives, check_references, check_words, check_works
from codetool.tools.tmdb.catalogue import Catalogue
from codetool.tools.tmdb.finding import Finding
from codetool.tools.tmdb.store import FOLDER, load

AS_OF = date(2024, 6, 1)
"""The day that counts as today: `as_of` of `conf/replica/tmdb.yaml`, and a test holds the two together."""
RULES: Sequence[Callable[[Catalogue], Iterator[Finding]]] = (
    check_references.unknown_names,
    check_references.unused_records,
    check_references.same_but_for_accents,
    check_references.same_title_and_year,
    check_references.listed_twice,
    check_references.lonely_collections,
    check_words.unknown_codes,
    check_words.untidy_texts,
    check_words.wrong_homepages,
    check_lives.impossible_lives,
    check_lives.work_before_birth,
    check_lives.acting_after_death,
    check_lives.young_directors,
    check_works.numbers_out_of_range,
    check_works.numbers_below_one,
    check_works.wrong_release_days,
    check_works.seasons_out_of_order,
    check_works.wrong_last_days,
    check_works.misplaced_episodes,
    check_works.episodes_out_of_order,
)
"""What holds between records."""


def findings(folder: Path = FOLDER, as_of: date = AS_OF) -> Sequence[Finding]:
    """All that is wrong with the data in a folder; while a line cannot be read, only what cannot be read."""
    if unreadable := [*check_lines.unreadable(folder)]:
        return unreadable
    here = Catalogue(load(folder), as_of)
    return [*check_lines.out_of_order(folder), *(found for rule in RULES for found in rule(here))]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if nothing is wrong, 1 if something is, 2 if the folder is none."""
    parser = argparse.ArgumentParser(
        prog="python -m codetool.tools.tmdb.check", description="Finds errors in the data."
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
