"""`judged.jsonl`: what the votes on each task of a folder come to, a line a task, made anew from them each time.

`results.jsonl` holds what a search did and is never changed; who reads its lines for people or for statistics reads
them merged with these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation.result_files import read_results
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Comparison, Judgement
from codetool.judges.win_rate import PREFERENCE_SCORES
from codetool.runs import journal
from codetool.types import JSON

JUDGED_FILE = "judged.jsonl"


def build_judged_line(case: JudgeInput, judgement: Judgement) -> dict[str, JSON]:
    """The line of a task."""
    return {
        "task_id": case.task_id,
        "query": case.query,
        "answer": case.answer,
        "labels": list(judgement.labels),
        "reason": judgement.reason,
        "sopr": judgement.score,
    }


def build_comparison_fields(reference: JudgeInput, judgement: Judgement, compared: Comparison) -> dict[str, JSON]:
    """What the line of a task says of the reference's answer to it."""
    return {
        "reference_answer": reference.answer,
        "reference_labels": list(judgement.labels),
        "preference": compared.preference,
        "compared": [vote.label for vote in compared.votes],
        "sowr": PREFERENCE_SCORES[compared.preference],
    }


def write_judged_lines(folder: Path, lines: Iterable[Mapping[str, JSON]]) -> None:
    """Make these the folder's lines."""
    journal.atomic_write(folder / JUDGED_FILE, map(journal.encode_record, lines))


def delete_judged_lines(folder: Path) -> None:
    """Remove the lines: they are not of all answers that the folder holds now."""
    (folder / JUDGED_FILE).unlink(missing_ok=True)


def load_result_lines(folder: Path, order: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The lines of the folder's `results.jsonl`, one a task, those of judged tasks with `sopr` among their metrics.

    They are those of the tasks in `order`, in that order; of all tasks, sorted by id, without an order. The line of a
    judged task also has `judged`, the labels and a reason. Raises ConfigError for a line of another shape.
    """
    known, _ = journal.read_latest_records(folder / JUDGED_FILE, {"task_id": str})
    lines = read_results(folder, order)
    return [join_votes(line, known[line["task_id"]]) if line["task_id"] in known else line for line in lines]


def join_votes(line: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A result line with what its task's judged line says."""
    metrics = {name: found[name] for name in ("sopr", "sowr") if name in found}
    names = ("labels", "reason", "preference")
    judged = {name: found[name] for name in names if name in found}
    return {**line, "metrics": {**line["metrics"], **metrics}, "judged": judged}


def get_metric_by_task(lines: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """The metric by task, for `paired`; a task whose line has none is left out."""
    found = {line["task_id"]: line["metrics"].get(metric) for line in lines}
    return {task: float(value) for task, value in found.items() if value is not None}
