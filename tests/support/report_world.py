"""A small run to report on: one task of each outcome, and texts that try to break out of the page."""

from __future__ import annotations

from typing import Any

from codetool.evaluation.html_report import ReportContext, render_page
from codetool.evaluation.summary import summarize_results
from codetool.types import Answer, Task

HOSTILE = (
    "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'>"
    "<!-- ]]> \x00\x1b[31m\u202e\u2028\ud83d \U0001f600 &lt; {{title}} ${window.broken=1}"
)
LONG = "x" * 20_000
ABOUT = ReportContext(
    name="films-beam-<b>&",
    written="today",
    config=f"seed: 0\n# {HOSTILE}\n",
    settings={"seed": 0, "search": {"_option_": "beam", "width": 2}},
    made_from={"codetool": "0.1.0", "sha256 of benchmark": "ab12"},
    sandbox_layers=("seccomp: allow-list",),
    notes=("Something to know first.",),
)


def line(name: str, success: bool | None, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "task_id": name,
        "query": f"What about {name}?",
        "answer": None if kind == "internal" else f"answer of {name}",
        "success": success,
        "finished": kind != "internal",
        "stopped_by": None,
        "path": ["1", "1-2"] if kind != "internal" else [],
        "metrics": {"success": success, "scep": 0.5, "seconds": 1.0},
        "ledger": {"tokens_in": 1, "tokens_out": 20, "prm_tokens": 3, "executions": 4, "tool_calls": 5, "usd": None},
        "error": {"kind": kind, "message": f"because of {kind}"} if kind else None,
        "seconds": 1.5,
    } | more


def call(provenance: str | None, effect: str = "read", status: int = 200) -> dict[str, Any]:
    return {
        "method": "GET" if effect == "read" else "POST",
        "url": "https://films.test/search",
        "arguments": {"query": "x", "page": 1},
        "http_status": status,
        "provenance": provenance,
        "effect": effect,
        "seconds": 0.25,
    }


def node(name: str, parent: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "parent": parent,
        "depth": name.count("-") + 1,
        "text": f"##Step 1: words of {name}\nPython Code:\n```python\nprint('{name}')\n```",
        "code": f"print('{name}')  # note",
        "execution": {"status": "ok", "observation": f"saw {name}", "error": None, "seconds": 0.1, "calls": []},
        "spot": 1.0,
        "latent": 0.25,
        "cumulative": 1.25,
        "multiplicity": 1,
        "finished": False,
    } | more


def failed(error: str) -> dict[str, Any]:
    return {"status": "exception", "observation": "", "error": error, "seconds": 0.0, "calls": [call(None, status=504)]}


def called() -> dict[str, Any]:
    calls = [call("replica"), call("live", "write", 201)]
    return {"status": "ok", "observation": "saw 1", "error": None, "seconds": 0.1, "calls": calls}


def tree(name: str) -> dict[str, Any]:
    return {
        "task_id": name,
        "nodes": [
            node("1", "0", multiplicity=3, execution=called()),
            node("2", "0", latent=None, spot=0.0, execution=failed("KeyError: 'id' (line 1: …)")),
            node("1-1", "1"),
            node("1-2", "1", finished=True, cumulative=2.5),
        ],
    }


LINES = [
    line("t1", True),
    line("t2", False, "wrong_tool"),
    line("t3", False, "exception:KeyError", seconds=90.0),
    line("t4", False, "internal"),
    line("t5", None),
]
TREES = [tree(name) for name in ("t1", "t2", "t3", "t5", "not asked for")]
TASKS = {
    "t1": Task("t1", "", (), ("GET /search", "GET /film/{id}"), answer=Answer("list", ["A", "B"]), template="films"),
    "t2": Task("t2", "", (), template="people"),
}


def hostile() -> tuple[dict[str, Any], dict[str, Any]]:
    """A line and a tree that hold the hostile text wherever a model, a tool or a benchmark writes."""
    bad = failed(HOSTILE) | {"observation": HOSTILE, "calls": [call("live") | {"arguments": {HOSTILE: HOSTILE}}]}
    nodes = [node("1", "0", text=HOSTILE, code=HOSTILE, execution=bad), node("1-2", "1", text=LONG, code=LONG)]
    row = line(HOSTILE, False, "wrong_answer", query=HOSTILE, answer=HOSTILE, stopped_by=HOSTILE)
    return row, {"task_id": HOSTILE, "nodes": nodes}


def html(lines: list[dict[str, Any]] = LINES, trees: list[dict[str, Any]] = TREES, asked: int | None = None) -> str:
    templates = {name: task.template for name, task in TASKS.items()}
    summary = summarize_results(lines, asked or len(lines), seed=0, templates=templates)
    return b"".join(render_page(ABOUT, summary, lines, iter(trees), TASKS)).decode()
