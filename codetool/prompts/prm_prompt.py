"""The chat messages that a PRM reads: a task, a path of executed steps, and the proposed step or steps to score.

A longer path only extends the user message: the messages for step k+1 start with the messages for step k, and sibling
steps share everything but their own text. Prefix caches, batched scoring and packed training rely on this. The
templates are files in `conf/prm_prompt/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ConfigDict, PositiveInt, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from codetool.prompts.executed_steps import require_executed, truncate_output
from codetool.prompts.jinja import compile_template, validate_template
from codetool.prompts.messages import Message
from codetool.types import Execution, Node, Step, Task

PRM_TEMPLATE_VARIABLES = {
    "system": frozenset[str](),
    "task": frozenset({"tools", "query"}),
    "step": frozenset({"k", "text"}),
    "result": frozenset({"k", "status", "observation"}),
}
"""The variables of each template of a `PRMPrompt`."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PRMPrompt:
    """Renders a task, a path and a proposed step as the messages that a PRM scores.

    They are a system and a user message. The user message is the concatenation of the rendered templates (task, step,
    result, step, …) and ends with the proposed step. So the text of a longer path starts with the text of the shorter
    one, and siblings differ only in their own step.
    """

    system: str
    """Jinja template of the system message, without variables."""
    task: str
    """Jinja template of the start of the user message. Variables: `tools`, `query`."""
    step: str
    """Jinja template of one step. Variables: `k` (one-based), `text`."""
    result: str
    """Jinja template of what a step did; sees `k`, `status` and `observation`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of an observation that are shown; the error that ended it is cut last."""

    @field_validator("system", "task", "step", "result")
    @classmethod
    def _validate_templates(cls, source: str, field: ValidationInfo) -> str:
        return validate_template(source, PRM_TEMPLATE_VARIABLES[field.field_name or ""])

    def messages(
        self, task: Task, path: Sequence[Node], step: Step, execution: Execution | None = None
    ) -> list[Message]:
        """Return the messages that ask for the score of `step` after `path`.

        `execution` is the result of the step itself, for a PRM that reads it. Raises ValueError for a node of the path
        that has no step or was not executed.
        """
        messages = self.with_candidate(self.prefix_messages(task, path), len(path) + 1, step.text)
        if execution is not None:
            messages[-1]["content"] += self._render_result(len(path) + 1, execution)
        return messages

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """Return the messages without the proposed step: the part that all steps after `path` share."""
        parts = [compile_template(self.task).render(tools=task.tools, query=task.query)]
        for k, node in enumerate(path, start=1):
            step, execution = require_executed(node)
            parts += [self._render_step(k, step.text), self._render_result(k, execution)]
        system = compile_template(self.system).render()
        first = [{"role": "system", "content": system}] if system.strip() else []
        return [*first, {"role": "user", "content": "".join(parts)}]

    def with_candidate(self, prefix: Sequence[Mapping[str, str]], k: int, text: str) -> list[Message]:
        """Return the messages that ask for a step's score: the prefix with the text of step k (one-based) appended."""
        messages = [dict(message) for message in prefix]
        messages[-1]["content"] += self._render_step(k, text)
        return messages

    def _render_step(self, k: int, text: str) -> str:
        return compile_template(self.step).render(k=k, text=text)

    def _render_result(self, k: int, execution: Execution) -> str:
        error = (execution.error or "")[: self.max_observation_chars]
        room = max(0, self.max_observation_chars - (len(error) + 1 if error else 0))
        printed = truncate_output(execution, room)[0] if execution.stderr else execution.observation[:room]
        seen = "\n".join(part for part in (printed, error) if part)
        return compile_template(self.result).render(k=k, status=execution.status, observation=seen)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairwisePRMPrompt:
    """Renders a task, a path and two proposed next steps as the messages of a PRM that chooses between them.

    A `PRMPrompt` renders the task and the path, so longer paths extend shorter ones here too. The proposals come last.
    """

    steps: PRMPrompt
    """Renders the task, the path and the system message."""
    pair: str
    """Jinja template of the two proposals. Variables: `k` (one-based, of both), `first`, `second`."""

    @field_validator("pair")
    @classmethod
    def _validate_template(cls, source: str) -> str:
        return validate_template(source, frozenset({"k", "first", "second"}))

    def messages(self, task: Task, path: Sequence[Node], first: Step, second: Step) -> list[Message]:
        """Return the messages that ask which of two steps after `path` is better. Raises like `prefix_messages`."""
        return self.with_candidates(self.prefix_messages(task, path), len(path) + 1, first.text, second.text)

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """Return the messages without the proposals. Raises ValueError for a node that was not executed."""
        return self.steps.prefix_messages(task, path)

    def with_candidates(self, prefix: Sequence[Mapping[str, str]], k: int, first: str, second: str) -> list[Message]:
        """Return the messages that ask for the choice: the prefix with two texts for step k (one-based) appended."""
        messages = [dict(message) for message in prefix]
        messages[-1]["content"] += compile_template(self.pair).render(k=k, first=first, second=second)
        return messages
