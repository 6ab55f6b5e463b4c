"""Render the dataset card (README) of the stored tasks: sizes of the splits, and each template with its endpoints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

HEAD = """# Tasks of `tmdb_verified`

Written by `python -m codetool.benchmarks.task_generator.generate`, like this page; do not edit by hand.

Each line of `train.jsonl`, `dev.jsonl` and `test.jsonl` is a task: query, answer with its type, gold path of endpoints,
reference calls with arguments, the tools offered, and a reference program with the sub-problem of each step. The answer
is what the program prints on the embedded replica. Each subject (what the query names: a film, a person, a place in a
list) belongs to one split. Nearly all templates that only dev or only test has are new compositions of parts that occur
in train. The tasks are in a seeded random order, so the first N tasks are a sample of all templates.
"""


def render_card(splits: Mapping[str, Sequence[Row]]) -> str:
    """Return the card in Markdown, computed from the tasks of each split."""
    return "\n".join((HEAD, *summary_table(splits), "", "## Templates", "", *_template_table(splits), ""))


def summary_table(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the lines of a Markdown table with one column per split."""
    owners = _splits_by_template(splits)
    lines = [f"| | {' | '.join(splits)} |", "| --- |" + " ---: |" * len(splits)]

    def add(name: str, values: Sequence[object]) -> None:
        lines.append(f"| {name} | {' | '.join(map(str, values))} |")

    add("tasks", [len(rows) for rows in splits.values()])
    add("templates", [len({row["template"] for row in rows}) for rows in splits.values()])
    add("… in no other split", [sum(of == {split} for of in owners.values()) for split in splits])
    add("operations on gold paths", [len({call for row in rows for call in row["gold"]}) for rows in splits.values()])
    for steps in sorted({len(row["program"]) for rows in splits.values() for row in rows}):
        counts = [sum(len(row["program"]) == steps for row in rows) for rows in splits.values()]
        add(f"{steps} step{'s' * (steps > 1)}", counts)
    for kind in sorted({row["answer"]["type"] for rows in splits.values() for row in rows}):
        add(f"answer: {kind}", [sum(row["answer"]["type"] == kind for row in rows) for rows in splits.values()])
    return lines


def _template_table(splits: Mapping[str, Sequence[Row]]) -> list[str]:
    counts = {split: Counter(row["template"] for row in rows) for split, rows in splits.items()}
    rows_by_template = {row["template"]: row for rows in splits.values() for row in rows}
    lines = [
        f"| template | answer | steps | operations | {' | '.join(splits)} |",
        "| --- | --- | ---: | --- |" + " ---: |" * len(splits),
    ]
    for name, row in sorted(rows_by_template.items()):
        operations = ", ".join(f"`{endpoint.removeprefix('GET ')}`" for endpoint in dict.fromkeys(row["gold"]))
        numbers = " | ".join(str(counts[split][name] or "–") for split in splits)
        lines.append(f"| {name} | {row['answer']['type']} | {len(row['program'])} | {operations} | {numbers} |")
    return lines


def _splits_by_template(splits: Mapping[str, Sequence[Row]]) -> Mapping[str, set[str]]:
    """Return the splits in which each template occurs."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for split, rows in splits.items():
        for row in rows:
            owners[row["template"]].add(split)
    return owners
