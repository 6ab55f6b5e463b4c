"""The pages about files and metrics name every field and every metric that the code writes, and no other."""

from __future__ import annotations

import dataclasses
import re

import pytest
from doc_commands import PAGES, ROOT

from codetool.evaluation.metrics import AMOUNTS, POOLED_SHARES, RATES, RUN_COSTS, SHARES, TREE_SHARES
from codetool.evaluation.prm_metrics import compute_headline_metrics
from codetool.evaluation.result_records import CALL_SHAPE, LEDGER_SHAPE, NODE_SHAPE, RESULT_SHAPE
from codetool.model_types import ProcessExample
from codetool.policies.recorded import CANDIDATE_SHAPE

FILES = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")


NAMES = re.compile(r"`\w+`")


def section(text: str, title: str) -> str:
    [found] = re.findall(rf"(?ms)^##+ {re.escape(title)}$(.*?)(?=^##|\Z)", text)
    return str(found)


def first_cells(text: str) -> set[str]:
    """The names between backticks in the first column of the tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([\w:.]+)`", row)}


@pytest.mark.parametrize(
    ("title", "fields"),
    [
        ("`results.jsonl`", set(RESULT_SHAPE)),
        ("`trees.jsonl`", set(NODE_SHAPE)),
        ("`candidates.jsonl`", set(CANDIDATE_SHAPE)),
        ("`process.jsonl`", {field.name for field in dataclasses.fields(ProcessExample)}),
    ],
)
def test_the_fields_of_a_journal_are_listed(title: str, fields: set[str]) -> None:
    listed = first_cells(section(FILES, title))
    assert listed - {"path"} == fields - {"path"}  # of a candidate: a path is recorded beside what it must have


def test_the_parts_of_a_call_and_of_the_costs_are_named() -> None:
    assert not [name for name in CALL_SHAPE if f"`{name}`" not in section(FILES, "`trees.jsonl`")]
    ledger = section(METRICS, "Ledger")
    assert not [
        name for name in LEDGER_SHAPE if not {f"`{name}`", f"`_{name.rpartition('_')[2]}`"} & set(NAMES.findall(ledger))
    ]


def test_the_metrics_of_a_run_are_those_of_the_page() -> None:
    assert first_cells(section(METRICS, "Metrics of a run")) == {*RATES, *SHARES, *TREE_SHARES, *AMOUNTS}


def test_the_costs_of_a_run_are_those_of_the_page() -> None:
    assert first_cells(section(METRICS, "Costs of a run")) == {*POOLED_SHARES, *RUN_COSTS}


def test_the_metrics_of_a_prm_are_those_of_the_page() -> None:
    rows = [
        ("1", "0", 1.0, True), ("2", "0", 0.0, False), ("1-1", "1", 1.0, True), ("1-2", "1", 0.5, False),
    ]  # fmt: skip
    examples = [
        ProcessExample(
            task_id="t", node_id=node, group=group, prefix=(), step="s", executed=True, soft=soft, hard=soft > 0,
            latent=soft, label=label,
        )
        for node, group, soft, label in rows
    ]  # fmt: skip
    names = compute_headline_metrics(examples, [0.9, 0.2, 0.7, 0.1])
    assert first_cells(section(METRICS, "Metrics of a PRM")) == set(names)


def test_no_line_begins_with_a_formula() -> None:
    """MkDocs would take the formula for a block and break the paragraph."""
    lines = [line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if line.startswith("$`")]


def test_the_kinds_of_errors_are_those_of_the_page() -> None:
    from codetool.evaluation import error_taxonomy

    kinds = re.findall(r"(?m)^    (\S+) {2,}", error_taxonomy.__doc__ or "")
    listed = re.findall(r"(?m)^\| `([\w:]+)`", section(METRICS, "Error kinds"))
    assert [kind.replace("<Type>", "TYPE") for kind in kinds] == listed
