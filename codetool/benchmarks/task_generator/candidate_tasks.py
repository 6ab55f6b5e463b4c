"""Fill templates with subjects: tasks whose programs have not run yet, so that their answers are not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from string import Template
from typing import Any

from codetool.benchmarks.task_generator.comparisons import Comparison
from codetool.benchmarks.task_generator.grammar import NAME_KEYS, Kind
from codetool.benchmarks.task_generator.subjects import SUBJECTS, Split, Subject, assign_split
from codetool.benchmarks.task_generator.templates import Chain
from codetool.tmdb.store import load_store
from codetool.types import AnswerType

STORE = load_store()
POLITE_OPENINGS = (
    "Quick question:",
    "I am curious:",
    "Please help me with this:",
    "For a quiz I need to know:",
    "A friend asked me:",
)
QUESTION_WORDS = frozenset({"Who", "What", "When", "Where", "Which", "How", "On", "In"})
VARIABLES: dict[Kind, str] = {"season": "show", "episode": "show"}


@dataclass(frozen=True)
class CandidateTask:
    """A task whose program has not run: query, thought and code of each step, and the guard that must hold after it."""

    subjects: tuple[str, ...]
    """Keys of the subjects that the query names."""
    query: str
    type: AnswerType
    thoughts: tuple[str, ...]
    program: tuple[str, ...]
    guards: tuple[str, ...]
    records: tuple[tuple[str, Kind], ...] = ()
    """The chain's variables with the kinds of their values. No two may hold the same record."""


def generate_candidates(template: Chain | Comparison, split: Split, rng: Random) -> Iterator[CandidateTask]:
    """Yield the template's candidates in a split, in an order drawn from `rng`."""
    if isinstance(template, Chain):
        return _generate_chain_tasks(template, split, rng)
    return _generate_comparison_tasks(template, split, rng)


@cache
def _select_subjects(name: str, split: Split, of: str) -> tuple[Subject, ...]:
    """Return the subjects of a split. The key of a position includes its list, so each list splits by itself."""
    subjects: Iterable[Subject] = SUBJECTS[name](STORE)
    if name == "place":
        subjects = [Subject(f"{of} {subject.key}", subject.values) for subject in subjects]
    return tuple(subject for subject in subjects if assign_split(subject.key) == split)


def _generate_chain_tasks(chain: Chain, split: Split, rng: Random) -> Iterator[CandidateTask]:
    entry_point = chain.entry_point
    subjects = list(_select_subjects(entry_point.subjects, split, entry_point.name))
    rng.shuffle(subjects)
    for subject in _spread_repeated_keys(subjects):
        yield _fill_chain(chain, subject, rng)


def _spread_repeated_keys(subjects: Iterable[Subject]) -> list[Subject]:
    """Move repeated keys back: the second season of any series comes after the first one drawn of every series."""
    occurrences: Counter[str] = Counter()
    ranked = []
    for subject in subjects:
        ranked.append((occurrences[subject.key], subject))
        occurrences[subject.key] += 1
    return [subject for _, subject in sorted(ranked, key=lambda pair: pair[0])]


def _fill_chain(chain: Chain, subject: Subject, rng: Random) -> CandidateTask:
    entry_point, values = chain.entry_point, subject.values
    variable = VARIABLES.get(entry_point.kind, entry_point.kind)
    noun = Template(_choose_noun(entry_point.nouns, values, rng)).substitute(values)
    steps = [[entry_point.thought, entry_point.code, entry_point.guard, variable, entry_point.kind]]
    records = [(variable, entry_point.kind)]
    for relation in chain.relations:
        substitutions = {"x": variable, "y": relation.name} | dict(values)
        noun = Template(rng.choice(relation.nouns)).substitute(x=noun)
        variable = relation.name
        code, guard = (Template(text).substitute(substitutions) for text in (relation.code, relation.guard))
        steps.append([relation.thought, code, guard, variable, relation.kind])
        records.append((variable, relation.kind))
    attribute = chain.attribute
    substitutions = {"x": variable} | dict(values)
    code, guard = (Template(text).substitute(substitutions) for text in (attribute.code, attribute.guard))
    if attribute.makes_request:
        steps.append([attribute.thought, code, guard, "", ""])
    else:
        thought = f"{steps[-1][0][:-1]} and {attribute.thought[0].lower()}{attribute.thought[1:]}"
        steps[-1] = [thought, f"{steps[-1][1]}\n{code}", f"({steps[-1][2]}) and ({guard})", "", ""]
    if entry_point.before:
        steps.insert(0, [*entry_point.before, "True", "", ""])
    filled = [[Template(text).safe_substitute(values) for text in step[:3]] + step[3:] for step in steps]
    return CandidateTask(
        subjects=(subject.key,),
        query=_write_question(attribute.questions, noun, rng),
        type=attribute.type,
        thoughts=tuple(step[0] for step in filled),
        program=tuple(
            (f"import requests\n\n{step[1]}" if number == 0 else step[1]) + _write_record_print(step[3], step[4])
            for number, step in enumerate(filled)
        ),
        guards=tuple(step[2] for step in filled),
        records=tuple(records),
    )


def _write_record_print(variable: str, kind: Any) -> str:
    """Return the print statement of a step that only finds a record, empty without a variable."""
    return f'\nprint({variable}["id"], {variable}["{NAME_KEYS.get(kind, "name")}"])' if variable else ""


def _choose_noun(nouns: Sequence[str], values: Mapping[str, str], rng: Random) -> str:
    """Choose a noun phrase. A title of one word never stands bare, since it could be read as a word of the sentence."""
    bare = " " in values.get("bare", " ")
    return rng.choice([noun for noun in nouns if noun != "$bare" or bare])


def _write_question(questions: Sequence[str], noun: str, rng: Random) -> str:
    text = Template(rng.choice(questions)).substitute(x=noun)
    for superlative in ("most", "best", "highest"):
        text = text.replace(f"the first {superlative} ", f"the {superlative} ")
    text = text.replace("the the ", "the ").replace("the The ", "The ").replace("..", ".")
    return _add_polite_opening(text[0].upper() + text[1:], rng)


def _add_polite_opening(question: str, rng: Random) -> str:
    """Return the question, in a fifth of all cases after a polite opening."""
    if rng.random() > 0.2 or question.split()[0] not in QUESTION_WORDS:
        return question
    return f"{rng.choice(POLITE_OPENINGS)} {question[0].lower()}{question[1:]}"


def _generate_comparison_tasks(template: Comparison, split: Split, rng: Random) -> Iterator[CandidateTask]:
    left, right = (_select_subjects(name, split, name) for name in template.subjects)
    for attempt, (one, other) in enumerate(template.pairs(left, right, STORE, rng)):
        if attempt == 400:
            return
        values = {f"{side}_{key}": value for side, of in (("a", one), ("b", other)) for key, value in of.values.items()}
        yield CandidateTask(
            subjects=(one.key, other.key),
            query=_add_polite_opening(_write_comparison_question(template.questions, values, rng), rng),
            type=template.type,
            thoughts=tuple(Template(step.thought).substitute(values) for step in template.steps),
            program=tuple(
                ("import requests\n\n" if number == 0 else "")
                + Template(step.code).safe_substitute(values)
                + _write_search_print(step.code)
                for number, step in enumerate(template.steps)
            ),
            guards=tuple(Template(step.guard).safe_substitute(values) for step in template.steps),
        )


def _write_comparison_question(questions: Sequence[str], values: Mapping[str, str], rng: Random) -> str:
    return Template(rng.choice(questions)).substitute(values).replace("the The ", "The ")


def _write_search_print(code: str) -> str:
    """Return the print statement of a comparison's step that only finds a record."""
    variable = code.split(" =", 1)[0]
    name = "title" if "/search/movie" in code else "name"
    return "" if "print(" in code else f'\nprint({variable}["id"], {variable}["{name}"])'
