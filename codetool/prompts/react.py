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

from codetool.prompts.model_text import visible
from codetool.prompts.react_parser import FINISH, Action, read, thought
from codetool.prompts.templates import Message, TemplateText, conversation
from codetool.prompts.tool_call_code import call_program, complaint
from codetool.types import JSON, Node, Step, Task, Tool

_UNREADABLE_ANSWER = re.compile(
    r"[\"']final_answer[\"']\s*:\s*[\"'](?P<answer>.*?)[\"']\s*(?:,\s*[\"']return_type|\}|\Z)", re.DOTALL
)
"""An answer with quotes in it that its model did not escape."""
GIVES_UP = "give_up"
"""What the return type of an action Finish that gives up begins with."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReActPrompt:
    """How a task and a path become chat messages, and Thought, Action and Action Input a step."""

    instruction: TemplateText
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: TemplateText
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    observation: PositiveInt
    """Highest number of characters of a tool's answer, and apart from it of an error, that are shown."""
    response: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: TemplateText = ""
    """Jinja template of what ends the last message where steps were tried before; sees `k`, the number of the step that
    is asked for, and `ways`: of each `text` and what `result` sees but `k`. An empty one shows nothing."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return conversation(self, task, path, tried, lambda k, step: _said(step))

    def stop(self, k: int) -> str:
        """Where a model begins to make up what its tool answers."""
        return "\nObservation:"

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The first action that `raw` holds as a step; one without code where it holds none or gives up. Never raises.

        The text of a finished step is the answer alone.
        """
        action = read(raw)
        if action is None:
            return Step(f"Thought: {thought(visible(raw))}".rstrip(), None, False)
        if action.name.casefold() == FINISH.casefold():
            return _finish(action)
        tool = _named(action.name, task.tools)
        if tool is None:
            known = ", ".join([*(each.name for each in task.tools), FINISH])
            return _call(action, complaint(f"There is no tool {action.name[:100]!r}. The tools are: {known}."))
        if (arguments := action.arguments) is None:
            names = ", ".join(parameter.name for parameter in tool.parameters) or "none"
            problem = f"The Action Input of {tool.name} is no JSON object. Its arguments are: {names}."
            return _call(action, complaint(problem))
        program = call_program(tool, arguments, task.preamble)
        return _call(Action(action.thought, tool.name, _json(arguments)), program)


def _finish(action: Action) -> Step:
    arguments, given = action.arguments, action.given
    if arguments is None:
        found = _UNREADABLE_ANSWER.search(given)
        plain = None if "{" in given else given.strip(" \t\n`()[]")
        answer: JSON = found["answer"] if found else plain
        gives_up = found is None and GIVES_UP in given
    else:
        answer = arguments.get("final_answer")
        gives_up = str(arguments.get("return_type")).startswith(GIVES_UP)
    if gives_up:
        return _call(action, None)
    if answer is None or not str(answer).strip():
        return _call(action, complaint("Finish needs return_type and, to give an answer, final_answer."))
    return Step((answer if isinstance(answer, str) else _json(answer)).strip(), None, True)


def _call(action: Action, code: str | None) -> Step:
    lines = [f"Thought: {action.thought}"] if action.thought else []
    return Step("\n".join([*lines, f"Action: {action.name}", f"Action Input: {action.given}".rstrip()]), code, False)


def _said(step: Step) -> str:
    """The step as its model wrote it: of an answer the text alone is kept."""
    if not step.finished:
        return step.text
    given = {"return_type": "give_answer", "final_answer": step.text}
    return f"Action: {FINISH}\nAction Input: {_json(given)}"


def _named(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The tool of this name, else the one whose name differs by its case alone."""
    exact = (tool for tool in tools if tool.name == name)
    return next(exact, next((tool for tool in tools if tool.name.casefold() == name.casefold()), None))


def _json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
