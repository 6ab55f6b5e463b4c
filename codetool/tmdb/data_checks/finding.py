"""Finding of a data check about one record."""

from __future__ import annotations

from dataclasses import dataclass

from codetool.tmdb.records import Episode, Movie, Person, Show


@dataclass(frozen=True, slots=True)
class Finding:
    """One error in the data; as text it is one line: `file: record: what is wrong`."""

    file: str
    record: str
    wrong: str

    def __str__(self) -> str:
        return " ".join(f"{self.file}: {self.record}: {self.wrong}".split())


def make_finding(record: Movie | Show | Episode | Person, wrong: str) -> Finding:
    """Return the finding for a record, with its file and a readable name."""
    match record:
        case Movie():
            return Finding("movies.jsonl", f"{record.id} {record.title}", wrong)
        case Show():
            return Finding("shows.jsonl", f"{record.id} {record.name}", wrong)
        case Episode():
            position = f"{record.show} season {record.season} episode {record.number}"
            return Finding("episodes.jsonl", f"{position} {record.name}", wrong)
        case Person():
            return Finding("people.csv", f"{record.id} {record.name}", wrong)
