"""What a query of `tmdb_verified` is put together from: ways into the catalogue, hops through it, facts to ask for.

A template is a chain: an entry finds the subject, hops walk on to related records, an attribute prints the answer. Each
part brings its words and its code, so new chains are compositions of parts that others have shown.

In code and words `$x` is the record a part starts from (a variable in code, a noun phrase in words), `$y` the variable
a hop defines; other `$names` are the subject's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from codetool.tmdb.app import SERVER
from codetool.types import AnswerType

Kind = Literal["movie", "show", "person", "collection", "company", "network", "season", "episode", "record", "list"]
"""What a variable holds; `season` and `episode` are a show with numbers, `record` is met by its id, `list` is a whole
answer."""
TODAY = "2024-06-01"
"""The replica's `as_of`: what comes later is left out of every choice."""
TITLES: dict[Kind, str] = {"movie": "title"}
"""The key that names a record, where it is not `name`."""


def get(path: str, params: str = "") -> str:
    """The code of one request: an expression that gives the answer's JSON."""
    prefix = "f" if "{" in path else ""
    arguments = f", params={params}" if params else ""
    return f'requests.get({prefix}"{SERVER}{path}"{arguments}, headers=headers).json()'


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A way into the catalogue."""

    name: str
    kind: Kind
    """What it finds."""
    subjects: str
    """Where its subjects come from: a key of `subjects.SUBJECTS`."""
    nouns: tuple[str, ...]
    """Noun phrases for the record found."""
    thought: str
    code: str
    """Defines the variable that is called after the entry's kind."""
    guard: str = "True"
    """Expression that must hold after the step, else the subject is left out."""
    before: tuple[str, str] | None = None
    """Sub-problem and code of a step that has to come first."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A way from one record to another, with one call."""

    name: str
    source: Kind
    kind: Kind
    nouns: tuple[str, ...]
    """Noun phrases for the record reached; `$x` is the one it starts from."""
    thought: str
    code: str
    guard: str = "True"


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A fact to ask for: it ends the chain."""

    name: str
    source: Kind
    type: AnswerType
    questions: tuple[str, ...]
    thought: str
    code: str
    """Prints the answer; without a call of its own it becomes part of the step before."""
    guard: str = "True"

    @property
    def calls(self) -> bool:
        """Whether it asks the service itself."""
        return "requests.get" in self.code
