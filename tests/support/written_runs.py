"""Run folders of stage=evaluate with given outcomes, written without running anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from in_process import prepare_run

from codetool.runs.provenance import record_session
from codetool.runs.repeats import repeat_tasks
from codetool.stages.evaluate.run_identity import compute_identity
from codetool.types import Task

LEDGER = {"tokens_out": 20, "prm_tokens": 0, "prm_tokens_computed": 0, "executions": 1, "tool_calls": 1, "usd": None}
POLICY = ("policy=openai", "policy.model=m", "policy.base_url=http://127.0.0.1:9/v1", "prm=none", "benchmark.split=dev")

Outcome = bool | Sequence[bool] | None
"""Whether a task is solved, for several repeats one after the other; None: it failed internally."""


def write_run(outputs: Path, outcomes: Sequence[Outcome], *words: str, tokens: int = 100) -> Path:
    """Write the folder of a run of the first tasks of `dev` with these outcomes, and return it."""
    config, choices, _ = prepare_run(outputs, *POLICY, f"limit={len(outcomes)}", *words)
    identity = compute_identity(config, choices)
    folder = outputs / "evaluate" / f"tmdb_verified-{choices['search']}-openai-none-{identity.digest}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.settings, sort_keys=False))
    with record_session(folder, identity, config.settings, ["python", "run.py"]):
        pass
    tasks = repeat_tasks(config.benchmark.tasks()[: len(outcomes)], config.repeats)
    flat = [each for outcome in outcomes for each in (outcome if isinstance(outcome, Sequence) else [outcome])]
    pairs = list(zip(tasks, flat, strict=True))
    _write_lines(folder / "results.jsonl", [make_line(task, outcome, tokens) for task, outcome in pairs])
    _write_lines(folder / "trees.jsonl", [make_tree(task, outcome) for task, outcome in pairs if outcome is not None])
    return folder


def _write_lines(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def make_line(task: Task, outcome: bool | None, tokens: int) -> dict[str, Any]:
    """The result line; a wrong answer is `wrong`, a right one that of the benchmark."""
    kind = "internal" if outcome is None else "wrong_answer"
    answer = "wrong" if not outcome or task.answer is None else task.answer.value
    return {
        "task_id": task.id, **({"repeat": task.repeat} if task.repeat > 1 else {}), "query": task.query,
        "answer": None if outcome is None else str(answer), "success": bool(outcome), "finished": outcome is not None,
        "stopped_by": None, "path": ["1"] if outcome is not None else [],
        "metrics": {
            "success": bool(outcome), "scep": 1.0 if outcome is not None else 0.0, "tokens_in": tokens,
            "tokens_out": 20, "seconds": 1.0, "usd": None,
        },
        "ledger": {"tokens_in": tokens, **LEDGER},
        "error": None if outcome else {"kind": kind, "message": "because"}, "seconds": 1.0,
    }  # fmt: skip


def make_tree(task: Task, outcome: bool) -> dict[str, Any]:
    """A tree of two first steps, the first one chosen."""
    return {"task_id": task.id, "nodes": [_make_node("1", f"print('{outcome}')"), _make_node("2", "1 / 0")]}


def _make_node(name: str, code: str) -> dict[str, Any]:
    execution = {"status": "ok", "observation": f"<b>saw {name}</b>", "error": None, "seconds": 0.1, "calls": []}
    return {
        "id": name, "parent": "0", "depth": 1, "text": f"Python Code:\n```python\n{code}\n```", "code": code,
        "execution": execution, "spot": 1.0, "latent": None, "cumulative": 1.0, "multiplicity": 1, "finished": True,
    }  # fmt: skip
