"""The parts that a query of `tmdb_verified` is composed of: entry points, relations and attributes.

A template is a chain: an entry point finds the subject, relations lead from one record to the next, an attribute prints
the answer. Each part contains both wording and code, so a new chain is a composition of known parts.

In code and wording `$x` is the record that a part starts from (a variable in code, a noun phrase in wording), and `$y`
the variable that a relation defines. Other `$names` are the subject's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codetool.tmdb.app import SERVER
from codetool.types import AnswerType

Kind = Literal["movie", "show", "person", "collection", "company", "network", "season", "episode", "record", "list"]
"""Kind of value in a variable. `season` and `episode` are a show with numbers, `record` is found by its id, `list` is a
whole response."""
TODAY = "2024-06-01"
"""The replica's date (`as_of`). Guards refuse questions whose answer depends on later releases."""
NAME_KEYS: dict[Kind, str] = {"movie": "title"}
"""The field that holds a record's name, for kinds where it is not `name`."""


def write_request(path: str, params: str = "") -> str:
    """Return the code of one request: an expression whose value is the parsed JSON response."""
    prefix = "f" if "{" in path else ""
    arguments = f", params={params}" if params else ""
    return f'requests.get({prefix}"{SERVER}{path}"{arguments}, headers=headers).json()'


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """The first step of a chain: finds the record that the query names."""

    name: str
    kind: Kind
    """Kind of the record it finds."""
    subjects: str
    """Source of its subjects: a key of `subjects.SUBJECTS`."""
    nouns: tuple[str, ...]
    """Noun phrases for the record it finds."""
    thought: str
    code: str
    """Defines a variable named after `kind`."""
    guard: str = "True"
    """Python expression evaluated after the step; the subject is skipped where it is false."""
    before: tuple[str, str] | None = None
    """Thought and code of a step that must run before it."""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A step from one record to a related one, with one call."""

    name: str
    source: Kind
    kind: Kind
    nouns: tuple[str, ...]
    """Noun phrases for the related record; `$x` is the record it starts from."""
    thought: str
    code: str
    guard: str = "True"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """The last part of a chain: the fact that the query asks for."""

    name: str
    source: Kind
    type: AnswerType
    questions: tuple[str, ...]
    thought: str
    code: str
    """Prints the answer. Code without a request becomes part of the step before."""
    guard: str = "True"

    @property
    def makes_request(self) -> bool:
        """Whether its code makes a request."""
        return "requests.get" in self.code
