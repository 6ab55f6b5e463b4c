"""A baseline: ReAct (arXiv 2210.03629) in the form of ToolBench (arXiv 2307.16789), a tool call a step.

An action becomes a step whose code makes that one call and prints the answer, so the sandbox, the broker, rewards,
merging and reports treat it as they treat any step. What cannot be called becomes code that raises, so the model reads
why. `Finish` ends the path with an answer, or gives it up: a step without code that is not finished.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.prompts.messages import Message
from codetool.prompts.model_text import extract_visible_text
from codetool.prompts.policy_prompt import Template, build_messages
from codetool.prompts.react_parser import FINISH, Action, extract_thought, parse_action
from codetool.prompts.tool_call_code import generate_call_code, generate_error_code
from codetool.types import JSON, Node, Step, Task, Tool

_UNREADABLE_ANSWER = re.compile(
    r"[\"']final_answer[\"']\s*:\s*[\"'](?P<answer>.*?)[\"']\s*(?:,\s*[\"']return_type|\}|\Z)", re.DOTALL
)
"""An answer with quotes in it that its model did not escape."""
GIVE_UP_PREFIX = "give_up"
"""What the return type of an action Finish that gives up begins with."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReActPrompt:
    """How a task and a path become chat messages, and Thought, Action and Action Input a step."""

    instruction: Template
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: Template
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a tool's answer, and apart from it of an error, that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template of what ends the last message where steps were tried before; sees `k`, the number of the step that
    is asked for, and `ways`: of each `text` and what `result` sees but `k`. An empty one shows nothing."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, lambda k, step: _format_step(step))

    def stop(self, k: int) -> str:
        """Where a model begins to make up what its tool answers."""
        return "\nObservation:"

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The first action that `raw` holds as a step; one without code where it holds none or gives up. Never raises.

        The text of a finished step is the answer alone.
        """
        action = parse_action(raw)
        if action is None:
            return Step(f"Thought: {extract_thought(extract_visible_text(raw))}".rstrip(), None, False)
        if action.name.casefold() == FINISH.casefold():
            return _parse_finish(action)
        tool = _find_tool(action.name, task.tools)
        if tool is None:
            known = ", ".join([*(each.name for each in task.tools), FINISH])
            return _build_step(
                action, generate_error_code(f"There is no tool {action.name[:100]!r}. The tools are: {known}.")
            )
        if (arguments := action.arguments) is None:
            names = ", ".join(parameter.name for parameter in tool.parameters) or "none"
            problem = f"The Action Input of {tool.name} is no JSON object. Its arguments are: {names}."
            return _build_step(action, generate_error_code(problem))
        program = generate_call_code(tool, arguments, task.preamble)
        return _build_step(Action(action.thought, tool.name, _to_json(arguments)), program)


def _parse_finish(action: Action) -> Step:
    arguments, given = action.arguments, action.raw_input
    if arguments is None:
        found = _UNREADABLE_ANSWER.search(given)
        plain = None if "{" in given else given.strip(" \t\n`()[]")
        answer: JSON = found["answer"] if found else plain
        gives_up = found is None and GIVE_UP_PREFIX in given
    else:
        answer = arguments.get("final_answer")
        gives_up = str(arguments.get("return_type")).startswith(GIVE_UP_PREFIX)
    if gives_up:
        return _build_step(action, None)
    if answer is None or not str(answer).strip():
        return _build_step(
            action, generate_error_code("Finish needs return_type and, to give an answer, final_answer.")
        )
    return Step((answer if isinstance(answer, str) else _to_json(answer)).strip(), None, True)


def _build_step(action: Action, code: str | None) -> Step:
    lines = [f"Thought: {action.thought}"] if action.thought else []
    return Step(
        "\n".join([*lines, f"Action: {action.name}", f"Action Input: {action.raw_input}".rstrip()]), code, False
    )


def _format_step(step: Step) -> str:
    """The step as its model wrote it: of an answer the text alone is kept."""
    if not step.finished:
        return step.text
    given = {"return_type": "give_answer", "final_answer": step.text}
    return f"Action: {FINISH}\nAction Input: {_to_json(given)}"


def _find_tool(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool of this name, else the one whose name differs by its case alone."""
    exact = (tool for tool in tools if tool.name == name)
    return next(exact, next((tool for tool in tools if tool.name.casefold() == name.casefold()), None))


def _to_json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
