"""Generate the tasks of `tmdb_verified`: queries, reference programs, and answers computed on the film replica.

Usage: python -m codetool.benchmarks.task_generator.generate [--train 5000] [--compositions 2000] [--out FILE]

Without options the stored splits are written again. `--train 5000 --out FILE` writes that many train tasks, with more
subjects and more wordings than the stored ones. `--compositions 2000` writes tasks of further templates, one of each,
in which nothing occurs that dev and test hold out.
`benchmark=tmdb_verified benchmark.split=train benchmark.train=FILE` uses them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, get_args

from codetool.benchmarks.answer_checker.checker import matches
from codetool.benchmarks.answer_checker.text_match import normalize
from codetool.benchmarks.openapi import parse_tools
from codetool.benchmarks.task_generator.candidate_tasks import CandidateTask, generate_candidates
from codetool.benchmarks.task_generator.comparisons import Comparison
from codetool.benchmarks.task_generator.compositions import draw_chains
from codetool.benchmarks.task_generator.corruptions import corrupt_program
from codetool.benchmarks.task_generator.dataset_card import render_card
from codetool.benchmarks.task_generator.options import create_parser, parse_options
from codetool.benchmarks.task_generator.replica_session import ReplicaSession, parse_answer, run_program
from codetool.benchmarks.task_generator.subjects import Split
from codetool.benchmarks.task_generator.templates import TEMPLATES, Chain, is_in_split
from codetool.benchmarks.tmdb_verified import FOLDER
from codetool.tmdb.openapi_document import build_document
from codetool.types import Answer

Row = dict[str, Any]
CORRUPTION_SEEDS = range(2)
"""Seeds of the corrupted programs that must not answer a task of a stored split."""
LUCKY_KINDS = frozenset({"wrong_field", "wrong_entity"})
"""Kinds of corruption that can give the right answer by chance; the others hardly ever do."""
OFFERED_TOOLS = 8
"""Number of tools offered with each query."""
SUBJECTS_TRIED = 5
"""Number of subjects tried for each composition: most lack something that a long chain asks for."""
TASKS_PER_TEMPLATE: Mapping[Split, tuple[int, int]] = {"train": (5, 0), "dev": (1, 4), "test": (2, 4)}
"""Tasks per template in a split: of a template that occurs in every split, and of one that only this split has."""
TOUR_TEMPLATES = (
    "movie-release_date",
    "movie-director_name",
    "show-seasons",
    "person-birthday",
    "popular_movie-title",
    "collection-part_count",
)
"""Templates whose first dev task belongs to the tour, the tasks of a first run."""
LONG_ENDPOINTS = frozenset({"GET /discover/movie", "GET /discover/tv"})
"""Endpoints whose dozens of parameters fill a prompt: offered where the task needs them, otherwise to 5 % of tasks."""
GUESSABLE_ANSWERS = ("Acting", "US", "Ended", ["United States of America"])
"""Answers that are right so often that a guess finds them. Tasks with such an answer are dropped."""


def main() -> None:
    """Write the stored splits, or a file of train tasks. Exits with code 2 and a message on options that are wrong."""
    parser = create_parser(__doc__.splitlines()[0])
    options = parse_options(parser)
    print("computing answers on the replica, about a minute", file=sys.stderr)
    try:
        if options.out:
            write_rows(options.out, _generate_rows(parser, options.train or 0, options.compositions or 0))
        else:
            _write_splits()
    except OSError as error:
        parser.error(f"{error.filename} cannot be written: {error.strerror}. Name another file: --out tasks.jsonl")


def _generate_rows(parser: argparse.ArgumentParser, train: int, compositions: int) -> list[Row]:
    """Return the train tasks and then the compositions; ends the program if the catalog gives fewer."""
    rows = generate_train(train)
    if len(rows) < train:
        parser.error(f"--train {train}: the catalog gives at most {len(rows)} different train tasks")
    composed = list(islice(generate_compositions(), compositions))
    if len(composed) < compositions:
        parser.error(f"--compositions {compositions}: the catalog answers {len(composed)} further templates")
    return [*rows, *composed]


def _write_splits() -> None:
    """Write the stored splits, their card and the description of their tools."""
    splits = {split: generate_split(split) for split in get_args(Split)}
    for split, rows in splits.items():
        write_rows(FOLDER / f"{split}.jsonl", rows)
    (FOLDER / "README.md").write_text(render_card(splits), "utf-8")
    (FOLDER / "openapi.json").write_text(json.dumps(build_document(), indent=1, ensure_ascii=False) + "\n", "utf-8")


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Write the tasks as JSON lines."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    file.write_text("".join(lines), encoding="utf-8")
    print(f"{file}: {len(lines)} tasks")


@cache
def generate_split(split: Split) -> list[Row]:
    """Return the tasks of a split as the package ships them."""
    rows: list[Row] = []
    excluded = set() if split == "train" else {_last_call_and_answer(row) for row in generate_split("train")}
    for template in TEMPLATES:
        everywhere, alone = TASKS_PER_TEMPLATE[split]
        count = everywhere if template.where == "everywhere" else alone
        if is_in_split(template.where, split):
            rows += list(_take_acceptable(count, generate_tasks(template, split), excluded))
    Random(f"order {split}").shuffle(rows)  # so that the first tasks are a sample of all
    templates = TOUR_TEMPLATES if split == "dev" else ()
    tour = {next(row["id"] for row in rows if row["template"] == name) for name in templates}
    return [row | {"tour": row["id"] in tour} for row in rows]


def generate_train(count: int) -> list[Row]:
    """Return `count` train tasks, taken from the templates in turn; fewer if the catalog has no more."""
    rows: list[Row] = []
    templates = [template for template in TEMPLATES if is_in_split(template.where, "train")]
    queues = [generate_tasks(template, "train", rounds=4) for template in templates]
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


def generate_compositions() -> Iterator[Row]:
    """Yield a train task for each composition that has a single answer for one of a few subjects, in a seeded order."""
    for composition in draw_chains(seed=0):
        name = composition.name
        for candidate in islice(generate_candidates(composition, "train", Random(name)), SUBJECTS_TRIED):
            if row := _make_row(candidate, name, f"train-{name}-0"):
                yield row | {"tour": False}
                break


def generate_tasks(template: Chain | Comparison, split: Split, rounds: int = 1) -> Iterator[Row]:
    """Yield the template's tasks in a split, in a seeded order. Further rounds reword the same subjects."""
    number = 0
    for repetition in range(rounds):
        rng = Random(f"{template.name} {split} {repetition}")
        for candidate in generate_candidates(template, split, rng):
            row = _make_row(candidate, template.name, f"{split}-{template.name}-{number}")
            if row:
                number += 1
                yield row


def _take_acceptable(count: int, rows: Iterator[Row], excluded: Set[str]) -> Iterator[Row]:
    """Yield up to `count` rows with different answers, no ending in `excluded` and no answer of a corrupted program."""
    seen: set[str] = set()
    answers: set[str] = set()
    for row in rows:
        answer = json.dumps(row["answer"])
        repeated = row["answer"]["type"] != "yes_no" and answer in answers
        if row["query"] in seen or repeated or _last_call_and_answer(row) in excluded:
            continue
        if _is_answered_by_corruption(row):
            continue
        seen.add(row["query"])
        answers.add(answer)
        yield row
        if len(seen) == count:
            return


def _last_call_and_answer(row: Row) -> str:
    """Return the last call and the answer as one text: a train task with the same ones would give the answer away."""
    return f"{row['calls'][-1]} {json.dumps(row['answer'])}"


def _is_answered_by_corruption(row: Row) -> bool:
    """Return whether a program with a wrong field or entity gives the right answer: then the answer proves little."""
    if row["answer"]["type"] == "yes_no":  # half of all guesses are right
        return False
    answer = Answer(row["answer"]["type"], row["answer"]["value"])
    corrupted = [copy for seed in CORRUPTION_SEEDS for copy in corrupt_program(row["program"], seed)]
    programs = {tuple(program) for kind, program in corrupted if kind in LUCKY_KINDS}
    return any(_is_right(program, answer, row["query"]) for program in programs)


def _is_right(program: Sequence[str], answer: Answer, query: str) -> bool:
    try:
        return matches(answer, run_program(program).printed, query)
    except Exception:  # a corrupted program may raise anything
        return False


def _make_row(candidate: CandidateTask, template: str, task_id: str) -> Row | None:
    """Run the candidate's program and return the task, or None if the catalog has no single answer."""
    session = ReplicaSession()
    try:
        for step, guard in zip(candidate.program, candidate.guards, strict=True):
            session.run(step)
            if not eval(guard, session.scope):
                return None
        answer = {"type": candidate.type, "value": parse_answer(candidate.type, session.printed)}
    except (IndexError, KeyError, StopIteration, TypeError, ValueError, LookupError):
        return None  # this subject lacks what the template asks for
    if not all(call.ok for call in session.answers) or _revisits_record(candidate, session):
        return None
    is_given_away = answer["value"] in GUESSABLE_ANSWERS or _query_contains_answer(candidate.query, answer["value"])
    if is_given_away or not matches(Answer(candidate.type, answer["value"]), session.printed, candidate.query):
        return None
    return {
        "id": task_id,
        "template": template,
        "subjects": list(candidate.subjects),
        "query": candidate.query,
        "answer": answer,
        "gold": session.endpoints,
        "calls": session.calls,
        "tools": choose_tools(session.endpoints, task_id),
        "thoughts": list(candidate.thoughts),
        "program": list(candidate.program),
    }


def _revisits_record(candidate: CandidateTask, session: ReplicaSession) -> bool:
    """Return whether a chain reaches the same record twice: then a step could be skipped."""
    records = [(kind, session.scope[name]["id"]) for name, kind in candidate.records if kind not in ("record", "list")]
    return len(set(records)) < len(records)


def _query_contains_answer(query: str, value: Any) -> bool:
    """Return whether the query contains the answer, other than as one of two alternatives joined by `or`."""
    return isinstance(value, str) and f" {normalize(value)} " in f" {normalize(query)} " and " or " not in query


def choose_tools(gold: Sequence[str], seed: str) -> list[str]:
    """Return the endpoints offered with a task, shuffled: those of the gold path, related ones, and random others."""
    rng = Random(f"tools {seed}")
    needed = list(dict.fromkeys(gold))
    left_out = LONG_ENDPOINTS if rng.random() > 0.05 else frozenset()
    rest = [endpoint for endpoint in _all_endpoints() if endpoint not in needed and endpoint not in left_out]
    segments = {_first_path_segment(endpoint) for endpoint in needed}
    related = [endpoint for endpoint in rest if _first_path_segment(endpoint) in segments]
    neighbours = rng.sample(related, min(len(related), (OFFERED_TOOLS - len(needed)) // 2))
    others = [endpoint for endpoint in rest if endpoint not in neighbours]
    endpoints = needed + neighbours + rng.sample(others, OFFERED_TOOLS - len(needed) - len(neighbours))
    rng.shuffle(endpoints)
    return endpoints


@cache
def _all_endpoints() -> tuple[str, ...]:
    return tuple(sorted(tool.endpoint for tool in parse_tools(build_document())))


def _first_path_segment(endpoint: str) -> str:
    return endpoint.split("/")[1]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. No file has been changed.")
