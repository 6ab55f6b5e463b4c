"""The prompt of the ReAct baseline (arXiv 2210.03629) in ToolBench's format (arXiv 2307.16789): one tool call per step.

An action becomes a step whose code makes that call and prints the answer, so the sandbox, the broker, rewards, merging
and reports treat it like any other step. An invalid call becomes code that raises an error, so that the model reads the
reason. `Finish` ends the path with an answer, or gives up: then the step has no code and is not finished.
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
"""A final answer that contains quotes which the model did not escape."""
GIVE_UP_PREFIX = "give_up"
"""Prefix of the `return_type` of a Finish action that gives up."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReActPrompt:
    """Render a task and a path as chat messages, and parse Thought, Action and Action Input as a step."""

    instruction: Template
    """Jinja template of the first user message. Variables: `tools`, `query`, `observation`, `response`."""
    result: Template
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a tool's answer, and apart from it of an error, that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template appended to the last message if steps were tried before. Variables: `k`, the number of the
    requested step, and `ways`, a list with `text` and the variables of `result` except `k`. Empty: no text is added."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, lambda k, step: _format_step(step))

    def stop(self, k: int) -> str:
        """Return the stop string: the start of a tool answer, which the model would invent."""
        return "\nObservation:"

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Return the first action in `raw` as a step; without code if there is none or it gives up. Never raises.

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
    """Return the step as the model wrote it. A finished step keeps only the answer, so its action is rebuilt."""
    if not step.finished:
        return step.text
    given = {"return_type": "give_answer", "final_answer": step.text}
    return f"Action: {FINISH}\nAction Input: {_to_json(given)}"


def _find_tool(name: str, tools: Sequence[Tool]) -> Tool | None:
    """Return the tool with this name, else one whose name differs only in case, else None."""
    exact = (tool for tool in tools if tool.name == name)
    return next(exact, next((tool for tool in tools if tool.name.casefold() == name.casefold()), None))


def _to_json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
