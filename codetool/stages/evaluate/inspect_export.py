"""Export a run as a log of Inspect (`export=inspect`), which `inspect view` and `inspect_ai.log.read_eval_log` open.

A log is a zip of JSON files: `header.json`, `summaries.json` and one file for each sample; it is written without the
library. A task is a sample, its repeats are epochs. Messages are those of the chosen path: a step is a call of a tool
`python`, whose result has the step's HTTP calls as metadata. The other steps of a tree are not in the log.

Format: https://inspect.aisi.org.uk/eval-logs.html, version 2.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.metrics import is_share
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.evaluation.result_records import parse_nodes
from codetool.prm.none import NoPRM
from codetool.runs.provenance import Provenance, read_provenance
from codetool.runs.repeats import find_task_id, get_repeat
from codetool.runs.write_errors import explain_write_errors
from codetool.types import JSON, Node, Task

LOG_FOLDER = "inspect"
FORMAT_VERSION = 2
PYTHON = "python"
"""Name of the tool that stands for the interpreter."""
ERROR_TYPES = {"timeout": "timeout"}
"""Inspect's kind of tool error for the status of an execution; all others are `unknown`."""
SUMMARY_FIELDS = ("id", "epoch", "input", "target", "scores", "model_usage", "total_time")


def export_inspect_log(
    config: RunConfig, choices: Mapping[str, str], path: Path, tasks: Sequence[Task], *, interrupted: bool = False
) -> Path:
    """Write the log of all tasks with a result, replacing an older one, and return its file.

    That of an interrupted run has no scores over all tasks.
    """
    file = path / LOG_FOLDER / f"{path.name}.eval"
    log = _Log(config, choices, read_provenance(path), {task.id: task for task in tasks})
    lines = load_result_lines(path, log.tasks)
    metrics = {} if interrupted else json.loads((path / "metrics.json").read_text())["metrics"]
    trees = TreeFile(path / TREES)
    partial = file.with_suffix(".partial")
    with explain_write_errors(file):
        file.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            summaries = []
            for line in lines:
                sample = log.build_sample(line, next(trees.read_trees([line["task_id"]]), None))
                archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
                summaries.append(_summarize_sample(sample))
            header = log.build_header(lines, metrics)
            start = {name: header[name] for name in ("version", "eval", "plan")}
            for name, content in (("_journal/start", start), ("summaries", summaries), ("header", header)):
                archive.writestr(f"{name}.json", json.dumps(content))
        partial.replace(file)
    return file


def _summarize_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    summary = {name: sample[name] for name in SUMMARY_FIELDS if name in sample}
    error = {"error": sample["error"]["message"]} if "error" in sample else {}
    return {**summary, **error, "completed": "error" not in sample, "message_count": len(sample["messages"])}


@dataclass(frozen=True)
class _Log:
    """What the samples of a run have in common."""

    config: RunConfig
    choices: Mapping[str, str]
    provenance: Provenance
    tasks: Mapping[str, Task]

    @property
    def policy(self) -> str:
        """Name of the policy's model."""
        return str(self.config.settings["policy"].get("model") or self.choices["policy"])

    @property
    def prm(self) -> str:
        """Name of the PRM, which may be the policy's model with an adapter."""
        return f"{self.choices['prm']} (PRM)"

    def build_sample(self, line: Mapping[str, Any], tree: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a result line and its tree as a sample."""
        task = self.tasks[line["task_id"]]
        nodes = {node.id: node for node in parse_nodes(tree)} if tree is not None else {}
        path = [nodes[name] for name in line["path"] if name in nodes]
        target = "" if task.answer is None else task.answer.value
        sample: dict[str, Any] = {
            "id": find_task_id(line),
            "epoch": get_repeat(line),
            "input": line["query"],
            "target": target if isinstance(target, str) else json.dumps(target, ensure_ascii=False),
            "messages": [{"role": "user", "content": line["query"], "id": "0"}, *_list_messages(path)],
            "output": self._build_output(line),
            "scores": _list_scores(line),
            "metadata": self._describe_search(line, task, len(nodes)),
            "model_usage": self._list_usage(line["ledger"]),
            "total_time": line["seconds"],
        }
        if is_internal(line):
            sample["error"] = {"message": line["error"]["message"], "traceback": "", "traceback_ansi": ""}
        return sample

    def _build_output(self, line: Mapping[str, Any]) -> dict[str, JSON]:
        answer = line["answer"] or ""
        message = {"role": "assistant", "content": answer, "source": "generate"}
        return {"model": self.policy, "choices": [{"message": message, "stop_reason": "stop"}], "completion": answer}

    def _describe_search(self, line: Mapping[str, Any], task: Task, steps: int) -> dict[str, JSON]:
        return {
            "error": line["error"], "stopped_by": line["stopped_by"], "finished": line["finished"],
            "template": task.template, "group": task.group, "gold": list(task.gold),
            "steps_of_the_tree": max(0, steps - 1), "metrics": line["metrics"], "ledger": line["ledger"],
        }  # fmt: skip

    def _list_usage(self, ledger: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        usage = {self.policy: _count_tokens(ledger["tokens_in"], ledger["tokens_out"])}
        if not isinstance(self.config.prm, NoPRM):
            usage[self.prm] = _count_tokens(ledger["prm_tokens"], 0)
        return usage

    def build_header(self, lines: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of `header.json`."""
        sessions = self.provenance.sessions
        total = {
            name: sum(line["ledger"][name] for line in lines) for name in ("tokens_in", "tokens_out", "prm_tokens")
        }
        started, ended = str(sessions[0]["started"]), str(sessions[-1]["ended"] or datetime.now(UTC).isoformat())
        completed = sum(not is_internal(line) for line in lines)
        search = {name: value for name, value in self.config.settings["search"].items() if name != "_target_"}
        return {
            "version": FORMAT_VERSION,
            "status": self._find_status(lines, completed),
            "eval": self._build_spec(lines, started),
            "plan": {"name": "plan", "steps": [{"solver": self.choices["search"], "params": search}], "config": {}},
            "results": {
                "total_samples": len(self.tasks),
                "completed_samples": completed,
                "scores": [_describe_metric(name, metric) for name, metric in metrics.items() if is_share(name)],
            },
            "stats": {"started_at": started, "completed_at": ended, "model_usage": self._list_usage(total)},
        }

    def _find_status(self, lines: Sequence[Mapping[str, Any]], completed: int) -> str:
        """Return `cancelled` while tasks have no result, `error` if all have failed, and else `success`.

        As with Inspect's `fail_on_error=False`, a run goes on when a sample fails.
        """
        if len(lines) < len(self.tasks):
            return "cancelled"
        return "success" if completed else "error"

    def _build_spec(self, lines: Sequence[Mapping[str, Any]], started: str) -> dict[str, Any]:
        identity = self.provenance.identity
        sample_ids = list(dict.fromkeys(map(find_task_id, lines)))
        benchmark = self.choices["benchmark"]
        return {
            "eval_id": self.provenance.result,
            "run_id": self.provenance.result,
            "created": started,
            "task": benchmark,
            "task_id": identity.digest,
            "solver": self.choices["search"],
            "dataset": {"name": benchmark, "samples": len(sample_ids), "sample_ids": sample_ids, "shuffled": False},
            "model": self.policy,
            "config": {"epochs": max(map(get_repeat, lines), default=1), "fail_on_error": False},
            "packages": {"codetool": identity.version},
            "metadata": {"settings": dict(identity.settings), "checksums": dict(identity.checksums)},
        }


def _count_tokens(tokens_in: int, tokens_out: int) -> dict[str, int]:
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}


def _list_messages(path: Sequence[Node]) -> Iterator[dict[str, Any]]:
    """Yield the messages of the chosen path: of each step what the policy wrote, and what running it gave."""
    for node in path:
        step, execution = node.step, node.execution
        if step is None:
            continue
        message: dict[str, Any] = {"role": "assistant", "content": step.text, "id": node.id, "source": "generate"}
        message["metadata"] = {"spot": node.spot, "latent": node.latent, "cumulative": node.cumulative}
        if step.code is None:
            yield message
            continue
        call = {"id": node.id, "function": PYTHON, "arguments": {"code": step.code}, "type": "function"}
        yield {**message, "tool_calls": [call]}
        result: dict[str, Any] = {
            "role": "tool",
            "id": f"{node.id}-result",
            "tool_call_id": node.id,
            "function": PYTHON,
        }
        result["content"] = execution.observation if execution else ""
        if execution is not None and execution.error:
            kind = ERROR_TYPES.get(execution.status, "unknown")
            result["error"] = {"type": kind, "message": execution.error}
        result["metadata"] = {"calls": [_describe_call(answer) for answer in execution.calls] if execution else []}
        yield result


def _describe_call(answer: Any) -> dict[str, JSON]:
    call = answer.call
    fields = {"method": call.method, "url": call.url, "arguments": dict(call.arguments), "http_status": answer.status}
    return {**fields, "provenance": answer.provenance, "seconds": answer.seconds}


def _list_scores(line: Mapping[str, Any]) -> dict[str, dict[str, JSON]]:
    """Return the rates and shares of a task: C or I for its success, numbers for the others."""
    scores: dict[str, dict[str, JSON]] = {}
    for name, value in line["metrics"].items():
        if is_share(name) and value is not None:
            scores[name] = {"value": ("C" if value else "I") if name == "success" else float(value)}
    if "success" in scores:
        explanation = line["error"] and f"{line['error']['kind']}: {line['error']['message']}"
        scores["success"] |= {"answer": line["answer"], "explanation": explanation}
    return scores


def _describe_metric(name: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    values = {"mean": metric["value"], "interval_low": metric["low"], "interval_high": metric["high"]}
    metrics = {key: {"name": key, "value": value} for key, value in values.items() if value is not None}
    return {"name": name, "scorer": name, "metrics": metrics}
