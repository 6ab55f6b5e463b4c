"""A trajectory in the form of AgentProcessBench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": "c", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


SEARCH = {"name": "search", "description": "Finds.", "parameters": {"properties": {"q": {"type": "string"}}}}
LINE = {
    "query_index": 3,
    "sample_index": 1,
    "question": "Who?",
    "messages": [
        {"role": "system", "content": "Be good."},
        {"role": "user", "content": [{"type": "text", "text": "Who?"}]},
        {"role": "assistant", "content": "I look.", "tool_calls": [call("search", q="who")]},
        {"role": "tool", "name": "search", "content": "nobody"},
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": None, "tool_calls": [call("search", q="who else")]},
        {"role": "assistant", "content": "Somebody."},
    ],
    "tools": [{"type": "function", "function": SEARCH}],
    "step_labels": {"2": 1, "5": 0, "6": -1},
    "final_label": -1,
}


def write_trajectories(folder: Path, *lines: Any) -> Path:
    """Write lines as the part hotpotqa of a data folder."""
    file = folder / "agentprocessbench/hotpotqa.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file
