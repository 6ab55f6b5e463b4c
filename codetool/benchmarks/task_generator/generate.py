"""Write the tasks of `tmdb_verified`: queries, reference programs, answers computed on the replica.

Usage: python -m codetool.benchmarks.task_generator.generate [--train 5000 --out FILE]

Without options the stored splits are written again. `--train 5000 --out FILE` writes that many train tasks, with more
subjects and more wordings than the stored ones;
`benchmark=tmdb_verified benchmark.split=train benchmark.train=FILE` uses them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_args

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.answer_checker.text_match import norm
from codetool.benchmarks.openapi import tools
from codetool.benchmarks.task_generator.candidate_tasks import Draft, drafts
from codetool.benchmarks.task_generator.comparisons import Comparison
from codetool.benchmarks.task_generator.corruptions import damage
from codetool.benchmarks.task_generator.dataset_card import readme
from codetool.benchmarks.task_generator.replica_session import Session, followed, value
from codetool.benchmarks.task_generator.subjects import Split
from codetool.benchmarks.task_generator.templates import TEMPLATES, Chain, occurs
from codetool.benchmarks.tmdb_verified import FOLDER
from codetool.tmdb.openapi_document import document
from codetool.types import Answer

Row = dict[str, Any]
DAMAGES = range(2)
"""Seeds of the damaged programs that must not answer a task."""
SLIPS = frozenset({"wrong_field", "wrong_entity"})
"""Kinds of damage that happen to lead to right answers; the others hardly ever do."""
TOOLS = 8
"""Tools offered with each query."""
PER_TEMPLATE: Mapping[Split, tuple[int, int]] = {"train": (5, 0), "dev": (1, 4), "test": (2, 4)}
"""Tasks of a template that occurs everywhere, and of one that only this split has."""
TOUR = (
    "movie-release_date",
    "movie-director_name",
    "show-seasons",
    "person-birthday",
    "popular_movie-title",
    "collection-part_count",
)
"""Templates whose first task in dev is shown to a new user."""
LONG = frozenset({"GET /discover/movie", "GET /discover/tv"})
"""Operations with dozens of parameters, which fill a prompt: offered where they are needed, else seldom."""
GUESSED = ("Acting", "US", "Ended", ["United States of America"])
"""Answers that are right so often that a guess would find them: no task asks for one."""


def main() -> None:
    """Write the splits, or a longer train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, help="number of train tasks; default: the stored splits")
    parser.add_argument("--out", type=Path, help="file for the grown train tasks")
    options = parser.parse_args()
    if (options.train is None) != (options.out is None):
        parser.error("--train and --out go together: how many tasks, and the file to write them to")
    print("computing answers on the replica, about a minute", file=sys.stderr)
    if options.out:
        found = grown(options.train)
        if len(found) < options.train:
            parser.error(f"--train {options.train}: the catalogue gives at most {len(found)} different train tasks")
        write(options.out, found)
    else:
        splits = {split: stored(split) for split in get_args(Split)}
        for split, rows in splits.items():
            write(FOLDER / f"{split}.jsonl", rows)
        (FOLDER / "README.md").write_text(readme(splits), "utf-8")
        (FOLDER / "openapi.json").write_text(json.dumps(document(), indent=1, ensure_ascii=False) + "\n", "utf-8")


def write(file: Path, rows: Iterable[Row]) -> None:
    """One task a line."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
    print(f"{file}: {len(lines)} tasks")


@cache
def stored(split: Split) -> list[Row]:
    """The tasks of a split as the package ships them."""
    rows: list[Row] = []
    shown = set() if split == "train" else {_end(row) for row in stored("train")}
    for template in TEMPLATES:
        everywhere, alone = PER_TEMPLATE[split]
        wanted = everywhere if template.where == "everywhere" else alone
        if occurs(template.where, split):
            rows += list(_first(wanted, tasks(template, split), shown))
    Random(f"order {split}").shuffle(rows)  # so that the first tasks are a sample of all
    tour = {name: next(row["id"] for row in rows if row["template"] == name) for name in TOUR} if split == "dev" else {}
    return [row | {"tour": row["id"] in tour.values()} for row in rows]


def grown(count: int) -> list[Row]:
    """So many train tasks, the templates in turn; fewer where the catalogue has no more."""
    rows: list[Row] = []
    queues = [tasks(template, "train", rounds=4) for template in TEMPLATES if occurs(template.where, "train")]
    seen: set[str] = set()
    while queues and len(rows) < count:
        for queue in list(queues):
            row = next(queue, None)
            if row is None:
                queues.remove(queue)
            elif row["query"] not in seen and len(rows) < count:
                seen.add(row["query"])
                rows.append(row | {"tour": False})
    return rows


def tasks(template: Chain | Comparison, split: Split, rounds: int = 1) -> Iterator[Row]:
    """The template's tasks in a split, in a seeded order; `rounds` above 1 repeats subjects in other words."""
    number = 0
    for again in range(rounds):
        draw = Random(f"{template.name} {split} {again}")
        for draft in drafts(template, split, draw):
            row = _row(draft, template.name, f"{split}-{template.name}-{number}")
            if row:
                number += 1
                yield row


def _first(count: int, rows: Iterator[Row], shown: Set[str]) -> Iterator[Row]:
    """So many of the rows: no answer twice, none that train ends with too, none that a damaged program finds."""
    seen: set[str] = set()
    answers: set[str] = set()
    for row in rows:
        answer = json.dumps(row["answer"])
        repeated = row["answer"]["type"] != "yes_no" and answer in answers
        if row["query"] in seen or repeated or _end(row) in shown or _lucky(row):
            continue
        seen.add(row["query"])
        answers.add(answer)
        yield row
        if len(seen) == count:
            return


def _end(row: Row) -> str:
    """The last call with the answer: what a task of train would give away."""
    return f"{row['calls'][-1]} {json.dumps(row['answer'])}"


def _lucky(row: Row) -> bool:
    """Whether a wrong field or a wrong entity leads to the right answer all the same: then the answer proves little."""
    if row["answer"]["type"] == "yes_no":  # where every second guess is right
        return False
    answer = Answer(row["answer"]["type"], row["answer"]["value"])
    damaged = [program for seed in DAMAGES for kind, program in damage(row["program"], seed) if kind in SLIPS]
    return any(_answers(program, answer, row["query"]) for program in {tuple(program) for program in damaged})


def _answers(program: Sequence[str], answer: Answer, query: str) -> bool:
    try:
        return matches(answer, followed(program).printed, query)
    except Exception:  # a damaged program may raise anything
        return False


def _row(draft: Draft, template: str, number: str) -> Row | None:
    """The task, or None where the catalogue has no single answer to it."""
    session = Session()
    try:
        for step, guard in zip(draft.program, draft.guards, strict=True):
            session.run(step)
            if not eval(guard, session.scope):
                return None
        answer = {"type": draft.type, "value": value(draft.type, session.printed)}
    except (IndexError, KeyError, StopIteration, TypeError, ValueError, LookupError):
        return None  # this subject lacks what the template asks for
    if not all(call.ok for call in session.answers) or _returns(draft, session):
        return None
    told = answer["value"] in GUESSED or _told(draft.query, answer["value"])
    if told or not matches(Answer(draft.type, answer["value"]), session.printed, draft.query):
        return None
    return {
        "id": number,
        "template": template,
        "subjects": list(draft.subjects),
        "query": draft.query,
        "answer": answer,
        "gold": session.endpoints,
        "calls": session.calls,
        "tools": offered(session.endpoints, number),
        "thoughts": list(draft.thoughts),
        "program": list(draft.program),
    }


def _returns(draft: Draft, session: Session) -> bool:
    """Whether a chain comes back to a record that it has met: then a hop could be skipped."""
    met = [(kind, session.scope[name]["id"]) for name, kind in draft.records if kind not in ("record", "list")]
    return len(set(met)) < len(met)


def _told(query: str, value: Any) -> bool:
    """Whether the query gives the answer away: it names it, and not as one of two to choose from."""
    return isinstance(value, str) and f" {norm(value)} " in f" {norm(query)} " and " or " not in query


def offered(gold: Sequence[str], seed: str) -> list[str]:
    """The tools of a task: those of the gold path, their neighbours, and others, shuffled."""
    draw = Random(f"tools {seed}")
    needed = list(dict.fromkeys(gold))
    left_out = LONG if draw.random() > 0.05 else frozenset()
    rest = [endpoint for endpoint in _endpoints() if endpoint not in needed and endpoint not in left_out]
    near = [endpoint for endpoint in rest if _root(endpoint) in {_root(other) for other in needed}]
    neighbours = draw.sample(near, min(len(near), (TOOLS - len(needed)) // 2))
    others = [endpoint for endpoint in rest if endpoint not in neighbours]
    chosen = needed + neighbours + draw.sample(others, TOOLS - len(needed) - len(neighbours))
    draw.shuffle(chosen)
    return chosen


@cache
def _endpoints() -> tuple[str, ...]:
    return tuple(sorted(tool.endpoint for tool in tools(document())))


def _root(endpoint: str) -> str:
    return endpoint.split("/")[1]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. No file has been changed.")
