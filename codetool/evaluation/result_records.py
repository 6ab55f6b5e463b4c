"""Encode a task's result as JSON values, for its lines in `results.jsonl` and `trees.jsonl`, and decode trees again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from codetool.answers.final_answer import extract_answer
from codetool.errors import ConfigError
from codetool.evaluation.error_taxonomy import TaskError
from codetool.evaluation.metrics import Metrics
from codetool.ledger import Ledger
from codetool.runs.record_shape import Absent, Shape
from codetool.types import JSON, Execution, Node, SearchResult, Step, Task, ToolAnswer, ToolCall

LEDGER_SHAPE: Shape = {
    "tokens_in": int, "tokens_out": int, "prm_tokens": int, "prm_tokens_computed": int, "executions": int,
    "tool_calls": int, "usd": (int, float, None),
    **{each.name: (int, None, Absent) for each in fields(Ledger)[7:]},
}  # fmt: skip
"""Fields of the cost of a task; those that came later are missing in older lines."""
RESULT_SHAPE: Shape = {
    "task_id": str,
    "repeat": (int, Absent),
    "query": str,
    "answer": (str, None),
    "success": (bool, None),
    "finished": bool,
    "stopped_by": (str, None),
    "path": [str],
    "metrics": {str: (int, float, None)},
    "ledger": LEDGER_SHAPE,
    "error": (None, {"kind": str, "message": str}),
    "seconds": (int, float),
    "component_seconds": ({str: {"wall": (int, float), "busy": (int, float)}}, Absent),
}
"""Fields and types of a line of `results.jsonl`; those that came later are missing in older lines."""
CALL_SHAPE: Shape = {
    "method": str, "url": str, "arguments": dict, "http_status": int, "provenance": (str, None),
    "seconds": (int, float),
}  # fmt: skip
NODE_SHAPE: Shape = {
    "id": str,
    "parent": str,
    "depth": int,
    "text": str,
    "code": (str, None),
    "execution": (
        None,
        {"status": str, "observation": str, "error": (str, None), "seconds": (int, float), "calls": [CALL_SHAPE]},
    ),
    "spot": (int, float),
    "latent": (int, float, None),
    "cumulative": (int, float),
    "multiplicity": int,
    "finished": bool,
    "log_probability": (int, float, Absent),
    "tokens_out": (int, Absent),
}
TREE_SHAPE: Shape = {"task_id": str, "nodes": [NODE_SHAPE]}
"""Required fields and types of a line of `trees.jsonl`."""


def build_result_line(
    task: Task,
    result: SearchResult | None,
    success: bool | None,
    metrics: Metrics,
    seconds: float,
    error: TaskError | None = None,
    spent: Ledger | None = None,
) -> dict[str, JSON]:
    """Return the task's line for `results.jsonl`; `seconds` is wall time.

    `result` is None after an internal failure; `spent` then holds the cost until the failure.
    """
    best = result.best if result else None
    return {
        "task_id": task.id,
        **({"repeat": task.repeat} if task.repeat > 1 else {}),
        "query": task.query,
        "answer": extract_answer(result) if result else None,
        "success": success,
        "finished": best.finished if best else False,
        "stopped_by": result.stopped_by if result else None,
        "path": [node.id for node in best.path] if best else [],
        "metrics": dict(metrics),
        "ledger": asdict(result.ledger if result else spent or Ledger()),
        "error": asdict(error) if error else None,
        "seconds": seconds,
    }


def build_tree_line(task: Task, result: SearchResult) -> dict[str, JSON]:
    """The task's line in `trees.jsonl`: every step that was tried, parents first. The root is no step and left out."""
    return {"task_id": task.id, "nodes": [_node(node) for node in result.nodes if node.step]}


def _node(node: Node) -> dict[str, JSON]:
    return {
        "id": node.id,
        "parent": node.parent.id if node.parent else None,
        "depth": node.depth,
        "text": node.step.text if node.step else None,
        "code": node.step.code if node.step else None,
        "execution": _encode_execution(node.execution) if node.execution else None,
        "spot": node.spot,
        "latent": node.latent,
        "cumulative": node.cumulative,
        "multiplicity": node.multiplicity,
        "finished": node.finished,
        **({"log_probability": node.log_probability} if node.log_probability is not None else {}),
        **({"tokens_out": node.tokens_out} if node.tokens_out is not None else {}),
    }


def _encode_execution(execution: Execution) -> dict[str, JSON]:
    return {
        "status": execution.status,
        "observation": execution.observation,
        **({"stderr": execution.stderr} if execution.stderr else {}),
        "error": execution.error,
        "seconds": execution.seconds,
        "calls": [_encode_call(answer) for answer in execution.calls],
    }


def _encode_call(answer: ToolAnswer) -> dict[str, JSON]:
    """Encode a call without the body of its answer, whose relevant part the observation holds."""
    call = answer.call
    return {
        "method": call.method,
        "url": call.url,
        "arguments": dict(call.arguments),
        "http_status": answer.status,
        "provenance": answer.provenance,
        "effect": call.effect,
        "seconds": answer.seconds,
    }


def parse_nodes(tree: Mapping[str, Any]) -> tuple[Node, ...]:
    """Return the nodes of a line of `trees.jsonl`, the root first.

    They lack what is not recorded: the seeded tie-breakers, the bodies of tool answers, and the matched operations of
    calls. Raises ConfigError for a tree of another shape.
    """
    try:
        return _decode_nodes(tree)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"The tree of task {tree.get('task_id')} in trees.jsonl or rollouts.jsonl has another shape than the trees "
            f"of this version ({type(error).__name__}: {error}). Remove its line there and in results.jsonl (the task "
            "is then run again), or start over in a new folder with fresh=true."
        ) from error


def _decode_nodes(tree: Mapping[str, Any]) -> tuple[Node, ...]:
    nodes = {"0": Node("0")}
    for record in tree["nodes"]:
        nodes[record["id"]] = Node(
            id=record["id"],
            parent=nodes[record["parent"]],
            depth=record["depth"],
            step=Step(record["text"], record["code"], record["finished"]),
            execution=_decode_execution(record["execution"]) if record["execution"] else None,
            spot=record["spot"],
            latent=record["latent"],
            cumulative=record["cumulative"],
            multiplicity=record["multiplicity"],
            log_probability=record.get("log_probability"),
            tokens_out=record.get("tokens_out"),
        )
    return tuple(nodes.values())


def _decode_execution(record: Mapping[str, Any]) -> Execution:
    return Execution(
        status=record["status"],
        observation=record["observation"],
        stderr=record.get("stderr", ""),
        error=record["error"],
        seconds=record["seconds"],
        calls=tuple(
            ToolAnswer(
                call=ToolCall(call["method"], call["url"], call["arguments"]),
                status=call["http_status"],
                body="",
                provenance=call["provenance"],
                seconds=call["seconds"],
            )
            for call in record["calls"]
        ),
    )
