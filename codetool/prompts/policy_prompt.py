"""The chat messages that ask a policy for its next step, and the prompt of the step format.

A longer path only extends the messages: the messages sent after step k+1 start with the messages sent after step k,
and siblings share all of them, so that prefix caches can reuse them. The templates are files in `conf/policy_prompt/`.

Limits: observations are cut to a number of characters and tool documents are not, so a prompt may exceed the context of
a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

from pydantic import AfterValidator, ConfigDict, NonNegativeInt, PositiveInt, ValidationInfo
from pydantic.dataclasses import dataclass

from codetool.prompts.executed_steps import require_executed, truncate_output
from codetool.prompts.jinja import compile_template, validate_template
from codetool.prompts.messages import Message
from codetool.prompts.step_format import format_stop_marker
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node, Step, Task


def _validate_policy_template(source: str, field: ValidationInfo) -> str:
    """The template. Raises ValueError if it is none, or uses a name or an attribute that it must not."""
    return validate_template(source, POLICY_TEMPLATE_VARIABLES.get(field.field_name or ""))


POLICY_TEMPLATE_VARIABLES = {
    "instruction": frozenset({"tools", "query", "observation", "response"}),
    "result": frozenset({"k", "status", "output", "error", "cut"}),
    "tried": frozenset({"k", "ways"}),
    "system": frozenset[str](),
    "request": frozenset({"query", "finished", "steps"}),
}
"""The names that the templates of a policy's prompts are given, by field; a plug-in's other fields may see others."""
Template = Annotated[str, AfterValidator(_validate_policy_template)]
"""A Jinja template as it stands in YAML."""


class PolicyTemplates(Protocol):
    """The words of a policy's prompt, and how much is shown of what fills them."""

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
        """Jinja template of what ends the last message where steps were tried before."""
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
    """How a task and a path become chat messages, and a text in the step format becomes a step."""

    instruction: Template
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: Template
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template of what ends the last message where steps were tried before; sees `k`, the number of the step that
    is asked for, and `ways`: of each `text` and what `result` sees but `k`. An empty one shows nothing."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, format_finished_step)

    def stop(self, k: int) -> str:
        """The marker that closes step k (one-based)."""
        return format_stop_marker(k)

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The step that `raw` holds, as step k (one-based); one without code where it holds none. Never raises."""
        return parse_step(raw, k)


def format_finished_step(k: int, step: Step) -> str:
    """A step in the step format as its model wrote it, with the marker that closes it."""
    return f"{step.text}\n{format_stop_marker(k)}"


def build_messages(
    words: PolicyTemplates, task: Task, path: Sequence[Node], tried: Sequence[Node], said: Callable[[int, Step], str]
) -> list[Message]:
    """The messages that ask for step `len(path) + 1`: user and assistant in turn, the first and the last a user's.

    `said` is what the assistant's message of step k (one-based) holds. Only the last message tells of the steps that
    were `tried` there. Raises ValueError for a node that has no step or was not executed.
    """
    first = compile_template(words.instruction).render(
        tools=task.tools, query=task.query, observation=words.max_observation_chars, response=words.max_response_chars
    )
    messages = [{"role": "user", "content": first}]
    for k, node in enumerate(path, start=1):
        step, execution = require_executed(node)
        messages += [
            {"role": "assistant", "content": said(k, step)},
            {
                "role": "user",
                "content": compile_template(words.result).render(k=k, **_result_variables(words, execution)),
            },
        ]
    k = len(path) + 1
    ways = [
        {"text": said(k, step), **_result_variables(words, execution)}
        for step, execution in map(require_executed, tried)
    ]
    if ways and (told := compile_template(words.tried).render(k=k, ways=ways).strip()):
        messages[-1]["content"] = f"{messages[-1]['content'].rstrip()}\n\n{told}"
    return messages


def _result_variables(words: PolicyTemplates, execution: Execution) -> dict[str, str | int]:
    """What a template sees of a step's execution."""
    output, cut = truncate_output(execution, words.max_observation_chars)
    return {
        "status": execution.status,
        "output": output,
        "error": (execution.error or "")[: words.max_observation_chars],
        "cut": cut,
    }
