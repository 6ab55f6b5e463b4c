"""Read and write `judged.jsonl`: one line per task with the judge's labels, its reason, and the resulting metrics.

The file is rewritten from the journalled votes by every run. `results.jsonl` holds the search results and is never
changed by judging; reports and statistics use its lines joined with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.evaluation.repeated_results import average_repeats
from codetool.evaluation.result_files import read_results
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Comparison, Judgement
from codetool.judges.win_rate import PREFERENCE_SCORES
from codetool.runs import journal
from codetool.runs.repeats import find_task_id
from codetool.types import JSON

JUDGED_FILE = "judged.jsonl"


Price = Callable[[int, int], float | None]


def build_judged_line(
    case: JudgeInput, judgement: Judgement, price: Price = lambda tokens_in, tokens_out: None
) -> dict[str, JSON]:
    """Return the line of a task in `judged.jsonl`, with what its votes have cost."""
    read, written = (sum(getattr(vote, name) for vote in judgement.votes) for name in ("tokens_in", "tokens_out"))
    cost = {"judge_tokens_in": read, "judge_tokens_out": written, "judge_usd": price(read, written)}
    return {
        "task_id": case.task_id,
        "query": case.query,
        "answer": case.answer,
        "labels": list(judgement.labels),
        "reason": judgement.reason,
        "sopr": judgement.score,
        **{name: amount for name, amount in cost.items() if amount is not None},
    }


def build_comparison_fields(reference: JudgeInput, judgement: Judgement, compared: Comparison) -> dict[str, JSON]:
    """Return the fields of a task's line that describe the reference's answer."""
    return {
        "reference_answer": reference.answer,
        "reference_labels": list(judgement.labels),
        "preference": compared.preference,
        "compared": [vote.label for vote in compared.votes],
        "sowr": PREFERENCE_SCORES[compared.preference],
    }


def write_judged_lines(folder: Path, lines: Iterable[Mapping[str, JSON]]) -> None:
    """Replace the folder's `judged.jsonl` by these lines."""
    journal.atomic_write(folder / JUDGED_FILE, map(journal.encode_record, lines))


def delete_judged_lines(folder: Path) -> None:
    """Delete `judged.jsonl`, because the folder has new answers that it does not cover."""
    (folder / JUDGED_FILE).unlink(missing_ok=True)


def load_result_lines(folder: Path, order: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Return the lines of the folder's `results.jsonl`, one per task, joined with the judge's verdicts.

    They are those of the tasks in `order`, in that order; without an order those of all tasks, sorted by id. The line
    of a judged task has `sopr` among its metrics, and `judged` with the labels and a reason. Raises ConfigError for a
    line of another shape.
    """
    judged, _ = journal.read_latest_records(folder / JUDGED_FILE, {"task_id": str})
    lines = read_results(folder, order)
    return [join_votes(line, judged[line["task_id"]]) if line["task_id"] in judged else line for line in lines]


def join_votes(line: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result line with the metrics and the verdict of its task's line in `judged.jsonl`."""
    metrics = {name: fields[name] for name in ("sopr", "sowr") if name in fields}
    names = ("labels", "reason", "preference")
    judged = {name: fields[name] for name in names if name in fields}
    return {**_add_judge_cost(line, fields), "metrics": {**line["metrics"], **metrics}, "judged": judged}


def _add_judge_cost(line: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result line whose ledger has the tokens of its votes, and their price if it is known."""
    if "ledger" not in line:
        return line
    tokens = {name: fields[name] for name in ("judge_tokens_in", "judge_tokens_out") if name in fields}
    usd, price = line["ledger"].get("usd"), fields.get("judge_usd")
    return {**line, "ledger": line["ledger"] | tokens | {"usd": usd if price is None else (usd or 0.0) + price}}


def get_metric_by_task(lines: Sequence[Mapping[str, Any]], metric: str) -> dict[str, float]:
    """Return the metric of each task that has one, by task id: the mean over its repeats, if there are several."""
    values = [(find_task_id(line), line["metrics"].get(metric)) for line in lines]
    means = average_repeats([(task, float(value)) for task, value in values if value is not None])
    return {str(task): mean for task, mean in means}
