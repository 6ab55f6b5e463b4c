"""The chat messages that ask a policy for its next step, and the prompt of the step format.

A longer path only extends the messages: the messages sent after step k+1 start with the messages sent after step k,
and siblings share all of them, so that prefix caches can reuse them. The templates are files in `conf/policy_prompt/`.

Limits: observations are cut to a number of characters and tool documents are not, so a prompt may exceed the context of
a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Protocol

from pydantic import AfterValidator, ConfigDict, NonNegativeInt, PositiveInt, ValidationInfo
from pydantic.dataclasses import dataclass

from codetool.prompts.executed_steps import require_executed, truncate_output
from codetool.prompts.jinja import compile_template, validate_template
from codetool.prompts.messages import Message
from codetool.prompts.step_format import format_stop_marker
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node, Step, Task, Tool


def _validate_policy_template(source: str, field: ValidationInfo) -> str:
    """Return a policy template. Raises ValueError if it is invalid or uses a name or attribute it may not use."""
    return validate_template(source, POLICY_TEMPLATE_VARIABLES.get(field.field_name or ""))


POLICY_TEMPLATE_VARIABLES = {
    "instruction": frozenset({"tools", "query", "observation", "response"}),
    "result": frozenset({"k", "status", "output", "error", "cut"}),
    "tried": frozenset({"k", "ways"}),
    "system": frozenset[str](),
    "request": frozenset({"query", "finished", "steps"}),
}
"""The variables of each template of a policy's prompt, by field. Other fields of a plug-in may use any variable."""
Template = Annotated[str, AfterValidator(_validate_policy_template)]
"""The source of a Jinja template, as written in YAML."""


class PolicyTemplates(Protocol):
    """The templates and limits that `build_messages` needs of a policy's prompt."""

    @property
    def instruction(self) -> str:
        """Jinja template of the first user message."""
        ...

    @property
    def result(self) -> str:
        """Jinja template of the user message after a step."""
        ...

    @property
    def tried(self) -> str:
        """Jinja template appended to the last message if steps were tried before."""
        ...

    @property
    def max_observation_chars(self) -> int:
        """Highest number of characters of a step's output."""
        ...

    @property
    def max_response_chars(self) -> int:
        """Highest number of characters of a tool's response shape."""
        ...


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StepPrompt:
    """Render a task and a path as chat messages, and parse a text in the step format as a step."""

    instruction: Template
    """Jinja template of the first user message. Variables: `tools`, `query`, `observation`, `response`."""
    result: Template
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template appended to the last message if steps were tried before. Variables: `k`, the number of the
    requested step, and `ways`, a list with `text` and the variables of `result` except `k`. Empty: no text is added."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """Return the messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, format_finished_step)

    def stop(self, k: int) -> str:
        """Return the marker that closes step k (one-based)."""
        return format_stop_marker(k)

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Parse `raw` as step k (one-based). The step has no code if `raw` contains none. Never raises."""
        return parse_step(raw, k)


def format_finished_step(k: int, step: Step) -> str:
    """Return the text of step k (one-based) with its closing marker."""
    return f"{step.text}\n{format_stop_marker(k)}"


def build_messages(
    templates: PolicyTemplates,
    task: Task,
    path: Sequence[Node],
    tried: Sequence[Node],
    format_step: Callable[[int, Step], str],
) -> list[Message]:
    """Return the messages that ask for step `len(path) + 1`. User and assistant alternate; the last is a user message.

    `format_step` renders step k (one-based) as the assistant's message. Only the last message lists the steps that were
    `tried` before. Raises ValueError for a node that has no step or was not executed.
    """
    limits = templates.max_observation_chars, templates.max_response_chars
    first = _render_instruction(templates.instruction, _SameTools(task.tools), task.query, *limits)
    messages = [{"role": "user", "content": first}]
    for k, node in enumerate(path, start=1):
        step, execution = require_executed(node)
        messages += [
            {"role": "assistant", "content": format_step(k, step)},
            {
                "role": "user",
                "content": compile_template(templates.result).render(k=k, **_result_variables(templates, execution)),
            },
        ]
    k = len(path) + 1
    alternatives = [
        {"text": format_step(k, step), **_result_variables(templates, execution)}
        for step, execution in map(require_executed, tried)
    ]
    if alternatives and (tried_text := compile_template(templates.tried).render(k=k, ways=alternatives).strip()):
        messages[-1]["content"] = f"{messages[-1]['content'].rstrip()}\n\n{tried_text}"
    return messages


class _SameTools:
    """The tools of a task as a key that equals only the very same tuple: tools contain dictionaries."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = tools

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameTools) and self.tools is other.tools

    def __hash__(self) -> int:
        return id(self.tools)


@lru_cache(maxsize=512)
def _render_instruction(source: str, same: _SameTools, query: str, observation: int, response: int) -> str:
    """Return the first message. It is kept for tasks in flight: every step asks for it twice, and tools are many."""
    template = compile_template(source)
    return template.render(tools=same.tools, query=query, observation=observation, response=response)


def _result_variables(templates: PolicyTemplates, execution: Execution) -> dict[str, str | int]:
    """What a template sees of a step's execution."""
    output, cut = truncate_output(execution, templates.max_observation_chars)
    return {
        "status": execution.status,
        "output": output,
        "error": (execution.error or "")[: templates.max_observation_chars],
        "cut": cut,
    }
