"""Write the results of a run as the files that others' evaluation scripts read.

    stepwise_infer_result/<model>[_wo_latent]/<set>/<id>.json    the chosen path, as the code of CodeTool keeps it
    stepwise_infer_result/tmdb[_wo_latent]/<id>.json             the same of RestBench-TMDB, which has no model's folder
    final_answer/<model>[_wo_latent]/<set>/<id>.json             the same with `answer`
    model_predictions_converted/<model>[_wo_latent]/<set>.json   all of a set, as ToolEval's scripts read them

A step is a program, which ToolBench has no word for: there it is a call of a tool `python`, and the answer a call of
`Finish`. A path that printed no answer has no such call; with one, ToolEval would ask its judge about
an empty answer.

A set is a task's group, or the benchmark where tasks have none. CodeTool and ToolEval spell StableToolBench's groups
differently (`--test_set G1_Instruction` and `--test_set G1_instruction`), so each finds its own spelling.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from codetool.interfaces import Prompt
from codetool.process_data.reference_format.reference_export import (
    describe_execution,
    describe_path,
    format_path_name,
    write_json,
)
from codetool.types import JSON, Node, Task, Tool

FINISH, PROGRAM = "Finish", "python"
TMDB = "tmdb"
"""The set that CodeTool's code keeps in a folder of its own instead of the model's."""
CODETOOL_SETS = {
    f"{group}_{kind}": f"{group}_{kind.capitalize()}"
    for group, kind in (
        ("G1", "instruction"), ("G1", "category"), ("G1", "tool"),
        ("G2", "category"), ("G2", "instruction"), ("G3", "instruction"),
    )
}  # fmt: skip
"""StableToolBench's groups, and what the scripts of CodeTool call them."""


@dataclass
class ReferenceResults:
    """Writes the files of one run; add every task, then finish."""

    folder: Path
    """Where the three folders are made."""
    model: str
    """Name of the policy's model."""
    method: str
    """Name of the search."""
    policy_prompt: Prompt
    latent: bool
    """Whether a PRM's reward counted."""
    _converted: defaultdict[str, dict[str, JSON]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, task: Task, name: str, path: Sequence[Node], answer: str | None) -> None:
        """Write the files of a task; `name` is its set's, `path` the nodes of the chosen path."""
        content = {
            "q_id": task.id,
            "query": task.query,
            "instruction": self.policy_prompt.messages(task, ())[0]["content"],
            "infer_path": [describe_path(node, is_leaf=node is path[-1]) for node in path],
            "exec_res": {format_path_name(node.id): describe_execution(node) for node in path},
        }
        answer = (answer or "").strip()
        file = f"{quote(task.id, safe='')}.json"
        write_json(self._find_paths_folder(name) / file, content)
        write_json(self._find_folder("final_answer") / _format_set_folder(name) / file, content | {"answer": answer})
        self._converted[name][task.id] = {
            "query": task.query,
            "available_tools": [*map(_describe_tool, task.tools), _PROGRAM, _FINISH],
            "answer": self._make_answer(path, answer),
        }

    def finish(self) -> None:
        """Write the files that hold all tasks of a set."""
        for name, content in self._converted.items():
            write_json(self._find_folder("model_predictions_converted") / f"{quote(name, safe='')}.json", content)

    def _find_folder(self, kind: str) -> Path:
        return self.folder / kind / self._mark_latent(quote(self.model.replace("/", "_"), safe=""))

    def _find_paths_folder(self, name: str) -> Path:
        """The folder of a set's chosen paths."""
        if name == TMDB:
            return self.folder / "stepwise_infer_result" / self._mark_latent(TMDB)
        return self._find_folder("stepwise_infer_result") / _format_set_folder(name)

    def _mark_latent(self, name: str) -> str:
        return name if self.latent else f"{name}_wo_latent"

    def _make_answer(self, path: Sequence[Node], answer: str) -> JSON:
        """A path as ToolEval has it: each message holds the next one. An empty answer is none."""
        messages = [_make_message("system", ""), _make_message("user", "")]
        messages += [message for node in path if node.step for message in _make_step_messages(node)]
        final = ""
        if answer:
            final = json.dumps({"return_type": "give_answer", "final_answer": answer}, ensure_ascii=False)
            messages.append(_make_call_message(FINISH, final, ""))
        for earlier, later in zip(messages, messages[1:], strict=False):
            earlier["next"] = [later]
        return {
            "method": self.method,
            "total_steps": len(messages),
            "final_answer": final,
            "answer_details": messages[:1],
        }


def _format_set_folder(name: str) -> str:
    """The folder of a set as the scripts of CodeTool call it."""
    return quote(CODETOOL_SETS.get(name, name), safe="")


def _make_step_messages(node: Node) -> list[dict[str, Any]]:
    """The messages of a step: its program and what running it did, or its words."""
    assert node.step is not None
    if node.step.code is None:
        return [_make_message("assistant", node.step.text)]
    execution = node.execution
    response = {"error": (execution and execution.error) or "", "response": execution.observation if execution else ""}
    arguments = json.dumps({"code": node.step.code}, ensure_ascii=False)
    return [_make_call_message(PROGRAM, arguments, json.dumps(response, ensure_ascii=False))]


def _make_call_message(name: str, arguments: str, response: str) -> dict[str, Any]:
    return _make_message("tool", {"name": name, "arguments": arguments, "response": response})


def _make_message(role: str, message: JSON) -> dict[str, Any]:
    return {"role": role, "message": message, "next": []}


def _describe_tool(tool: Tool) -> dict[str, Any]:
    """A tool as a function of OpenAI's clients, in ToolBench's variant of the notation."""
    properties = {each.name: {"type": each.type, "description": each.description} for each in tool.parameters}
    required = [each.name for each in tool.parameters if each.required]
    optional = [each.name for each in tool.parameters if not each.required]
    return _make_function_schema(tool.name, f"{tool.endpoint}. {tool.summary}".strip(), properties, required, optional)


def _make_function_schema(
    name: str, description: str, properties: Mapping[str, JSON], required: list[str], optional: list[str]
) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required, "optional": optional}
    return {"name": name, "description": description, "parameters": parameters}


_PROGRAM = _make_function_schema(
    PROGRAM,
    "Runs a Python program that calls the other functions' services; its variables stay for the next one.",
    {"code": {"type": "string", "description": "the program"}},
    ["code"],
    [],
)
_FINISH = _make_function_schema(
    FINISH,
    "Ends the task with the answer.",
    {
        "return_type": {"type": "string", "enum": ["give_answer", "give_up_and_restart"]},
        "final_answer": {"type": "string", "description": "the answer to the query"},
    },
    ["return_type"],
    ["final_answer"],
)
