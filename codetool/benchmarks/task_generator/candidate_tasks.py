"""Tasks before their programs have run: a template filled with a subject of a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from string import Template
from typing import Any

from codetool.benchmarks.task_generator.comparisons import Comparison
from codetool.benchmarks.task_generator.grammar import TITLES, Kind
from codetool.benchmarks.task_generator.subjects import SUBJECTS, Split, Subject, split_of
from codetool.benchmarks.task_generator.templates import Chain
from codetool.tmdb.store import load
from codetool.types import AnswerType

STORE = load()
OPENINGS = (
    "Quick question:",
    "I am curious:",
    "Please help me with this:",
    "For a quiz I need to know:",
    "A friend asked me:",
)
ASKING = frozenset({"Who", "What", "When", "Where", "Which", "How", "On", "In"})
VARIABLES: dict[Kind, str] = {"season": "show", "episode": "show"}


@dataclass(frozen=True)
class Draft:
    """A task before its program has run: words, sub-problems, code, and what must hold after each step."""

    subjects: tuple[str, ...]
    """Keys of what the query names."""
    query: str
    type: AnswerType
    thoughts: tuple[str, ...]
    program: tuple[str, ...]
    guards: tuple[str, ...]
    records: tuple[tuple[str, Kind], ...] = ()
    """The variables of the chain and what they hold: no two may hold the same record."""


def drafts(template: Chain | Comparison, split: Split, draw: Random) -> Iterator[Draft]:
    """The template's tasks in a split, in an order that `draw` decides."""
    return _chained(template, split, draw) if isinstance(template, Chain) else _compared(template, split, draw)


@cache
def _pool(name: str, split: Split, of: str) -> tuple[Subject, ...]:
    """The subjects of a split; a place in a list counts as the list's own."""
    found: Iterable[Subject] = SUBJECTS[name](STORE)
    if name == "place":
        found = [Subject(f"{of} {subject.key}", subject.values) for subject in found]
    return tuple(subject for subject in found if split_of(subject.key) == split)


def _chained(chain: Chain, split: Split, draw: Random) -> Iterator[Draft]:
    entry = chain.entry
    subjects = list(_pool(entry.subjects, split, entry.name))
    draw.shuffle(subjects)
    for subject in _in_turn(subjects):
        yield _chain_draft(chain, subject, draw)


def _in_turn(subjects: Iterable[Subject]) -> list[Subject]:
    """The subjects with those of one key far apart: a second season of a series comes after a first of each."""
    met: Counter[str] = Counter()
    places = []
    for subject in subjects:
        places.append((met[subject.key], subject))
        met[subject.key] += 1
    return [subject for _, subject in sorted(places, key=lambda place: place[0])]


def _chain_draft(chain: Chain, subject: Subject, draw: Random) -> Draft:
    entry, values = chain.entry, subject.values
    variable = VARIABLES.get(entry.kind, entry.kind)
    noun = Template(_noun(entry.nouns, values, draw)).substitute(values)
    steps = [[entry.thought, entry.code, entry.guard, variable, entry.kind]]
    records = [(variable, entry.kind)]
    for hop in chain.hops:
        filling = {"x": variable, "y": hop.name} | dict(values)
        noun = Template(draw.choice(hop.nouns)).substitute(x=noun)
        variable = hop.name
        code, guard = (Template(text).substitute(filling) for text in (hop.code, hop.guard))
        steps.append([hop.thought, code, guard, variable, hop.kind])
        records.append((variable, hop.kind))
    attribute = chain.attribute
    filling = {"x": variable} | dict(values)
    code, guard = (Template(text).substitute(filling) for text in (attribute.code, attribute.guard))
    if attribute.calls:
        steps.append([attribute.thought, code, guard, "", ""])
    else:
        thought = f"{steps[-1][0][:-1]} and {attribute.thought[0].lower()}{attribute.thought[1:]}"
        steps[-1] = [thought, f"{steps[-1][1]}\n{code}", f"({steps[-1][2]}) and ({guard})", "", ""]
    if entry.before:
        steps.insert(0, [*entry.before, "True", "", ""])
    filled = [[Template(text).safe_substitute(values) for text in step[:3]] + step[3:] for step in steps]
    return Draft(
        subjects=(subject.key,),
        query=_question(attribute.questions, noun, draw),
        type=attribute.type,
        thoughts=tuple(step[0] for step in filled),
        program=tuple(
            (f"import requests\n\n{step[1]}" if number == 0 else step[1]) + _show(step[3], step[4])
            for number, step in enumerate(filled)
        ),
        guards=tuple(step[2] for step in filled),
        records=tuple(records),
    )


def _show(variable: str, kind: Any) -> str:
    """The print of a step that only finds a record."""
    return f'\nprint({variable}["id"], {variable}["{TITLES.get(kind, "name")}"])' if variable else ""


def _noun(nouns: Sequence[str], values: Mapping[str, str], draw: Random) -> str:
    """A noun phrase; a title of one word does not stand bare, it could be read as a word of the sentence."""
    bare = " " in values.get("bare", " ")
    return draw.choice([noun for noun in nouns if noun != "$bare" or bare])


def _question(questions: Sequence[str], noun: str, draw: Random) -> str:
    text = Template(draw.choice(questions)).substitute(x=noun)
    for much in ("most", "best", "highest"):
        text = text.replace(f"the first {much} ", f"the {much} ")
    text = text.replace("the the ", "the ").replace("the The ", "The ").replace("..", ".")
    return _opened(text[0].upper() + text[1:], draw)


def _opened(question: str, draw: Random) -> str:
    """The question, now and then after a few words of politeness."""
    if draw.random() > 0.2 or question.split()[0] not in ASKING:
        return question
    return f"{draw.choice(OPENINGS)} {question[0].lower()}{question[1:]}"


def _compared(template: Comparison, split: Split, draw: Random) -> Iterator[Draft]:
    left, right = (_pool(name, split, name) for name in template.subjects)
    for tried, (one, other) in enumerate(template.pairs(left, right, STORE, draw)):
        if tried == 400:
            return
        values = {f"{side}_{key}": value for side, of in (("a", one), ("b", other)) for key, value in of.values.items()}
        yield Draft(
            subjects=(one.key, other.key),
            query=_opened(_asked(template.questions, values, draw), draw),
            type=template.type,
            thoughts=tuple(Template(step.thought).substitute(values) for step in template.steps),
            program=tuple(
                ("import requests\n\n" if number == 0 else "")
                + Template(step.code).safe_substitute(values)
                + _found(step.code)
                for number, step in enumerate(template.steps)
            ),
            guards=tuple(Template(step.guard).safe_substitute(values) for step in template.steps),
        )


def _asked(questions: Sequence[str], values: Mapping[str, str], draw: Random) -> str:
    return Template(draw.choice(questions)).substitute(values).replace("the The ", "The ")


def _found(code: str) -> str:
    """The print of a comparison's step that only finds a record."""
    variable = code.split(" =", 1)[0]
    name = "title" if "/search/movie" in code else "name"
    return "" if "print(" in code else f'\nprint({variable}["id"], {variable}["{name}"])'
