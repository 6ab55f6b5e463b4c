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
"""The names that each template of a `PRMPrompt` is given."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PRMPrompt:
    """How a task, a path and a proposed step become what a PRM reads; the only place that renders it.

    A system and a user message, as the reference's server takes them. The user message is the templates one after the
    other, task, step, result, step, …, and ends with the step to judge: so the text of a longer path begins with the
    text of the shorter one whatever the templates say, and siblings differ in their own step alone.
    """

    system: str
    """Jinja template of the system message; sees nothing of the task."""
    task: str
    """Jinja template of the user message's start; sees `tools` and `query`."""
    step: str
    """Jinja template of one step; sees `k` (one-based) and `text`."""
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
        """The two messages that ask what `step` is worth after `path`.

        `execution` is what the step itself did, for a PRM that is shown it. Raises ValueError for a node of the path
        that has no step or was not executed.
        """
        messages = self.with_candidate(self.prefix_messages(task, path), len(path) + 1, step.text)
        if execution is not None:
            messages[-1]["content"] += self._render_result(len(path) + 1, execution)
        return messages

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """The two messages without the step to judge: what all steps after `path` have in common."""
        parts = [compile_template(self.task).render(tools=task.tools, query=task.query)]
        for k, node in enumerate(path, start=1):
            step, execution = require_executed(node)
            parts += [self._render_step(k, step.text), self._render_result(k, execution)]
        system = compile_template(self.system).render()
        first = [{"role": "system", "content": system}] if system.strip() else []
        return [*first, {"role": "user", "content": "".join(parts)}]

    def with_candidate(self, before: Sequence[Mapping[str, str]], k: int, text: str) -> list[Message]:
        """The messages that ask for a step's worth: those `before` it, with its text as step k (one-based) added."""
        messages = [dict(message) for message in before]
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
    """How a task, a path and two proposals for its next step become what a PRM reads that chooses between them.

    All but the proposals is rendered by a `PRMPrompt`, whose rule for longer paths therefore holds; they come last.
    """

    steps: PRMPrompt
    """How the task and the path are shown, and the system message."""
    pair: str
    """Jinja template of the two proposals, after all else; sees `k` (one-based, of both), `first` and `second`."""

    @field_validator("pair")
    @classmethod
    def _validate_template(cls, source: str) -> str:
        return validate_template(source, frozenset({"k", "first", "second"}))

    def messages(self, task: Task, path: Sequence[Node], first: Step, second: Step) -> list[Message]:
        """The two messages that ask which of two steps after `path` has more potential. Raises as `before` does."""
        return self.with_candidates(self.prefix_messages(task, path), len(path) + 1, first.text, second.text)

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """The two messages without the proposals. Raises ValueError for a node of the path that was not executed."""
        return self.steps.prefix_messages(task, path)

    def with_candidates(self, before: Sequence[Mapping[str, str]], k: int, first: str, second: str) -> list[Message]:
        """The messages that ask for the choice: those `before` it, with two texts for step k (one-based) added."""
        messages = [dict(message) for message in before]
        messages[-1]["content"] += compile_template(self.pair).render(k=k, first=first, second=second)
        return messages
