"""The final answer: what the last step printed, or a text that a model composes from what the path has found.

A composed answer is one more turn of a policy under another prompt, so it is drawn, journalled, resumed and replayed as
a step is; its tokens count as the policy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, InstanceOf, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import Prompt
from codetool.model_types import Sampling
from codetool.prompts.executed_steps import truncate_output
from codetool.prompts.jinja import compile_template
from codetool.prompts.messages import Message
from codetool.prompts.model_text import extract_visible_text
from codetool.prompts.policy_prompt import Template
from codetool.prompts.step_format import strip_markers
from codetool.types import Node, Step, Task

STOP = "[Answer Finished]"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Printed:
    """The answer is what the path's last step printed."""

    unfinished: Literal["none", "last_printed"]
    """The answer of a path that ends without the marker of its last step. `none`: there is none, as in the paper.
    `last_printed`: what the last step printed, if it ran; for models that never write the marker."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ByPolicy:
    """Settings of an answer that the policy composes itself."""

    temperature: Annotated[float, Field(ge=0)]
    """Temperature of the draw."""
    max_tokens: PositiveInt
    """New tokens of the answer at most."""
    prompt: InstanceOf[Prompt]
    """How a path becomes the request for the answer."""

    @property
    def sampling(self) -> Sampling:
        """How the answer is drawn."""
        return Sampling(self.temperature, 1.0, self.max_tokens)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AnswerPrompt:
    """How a task and its chosen path become the request for a final answer, a Prompt as those of steps are."""

    system: Template
    """Jinja template of the system message; sees nothing. An empty one is left out."""
    request: Template
    """Jinja template of the user message; sees `query`, `finished` and `steps`: of each `k` (one-based), `text` (its
    words without code), `code`, `status` (`answered`: in words), `output` and `error`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for the answer, whatever was `tried`."""
        steps = [self._step(k, node) for k, node in enumerate(path, start=1)]
        finished = bool(path and path[-1].finished)
        user = compile_template(self.request).render(query=task.query, finished=finished, steps=steps)
        system = compile_template(self.system).render().strip()
        first = [{"role": "system", "content": system}] if system else []
        return [*first, {"role": "user", "content": user}]

    def stop(self, k: int) -> str:
        """A text that no answer holds: it ends when the model says so."""
        return STOP

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The answer as the text of a last step, without thoughts, other channels and end-of-text tokens."""
        return Step(text=extract_visible_text(raw).partition(STOP)[0].strip(), code=None, finished=True)

    def _step(self, k: int, node: Node) -> dict[str, object]:
        step, execution = node.step, node.execution
        said = strip_markers(step.text)[: self.max_observation_chars] if step and step.code is None else ""
        answered = step is not None and step.code is None and step.finished
        return {
            "k": k,
            "text": strip_markers(step.text.partition("```")[0]) if step and step.code is not None else "",
            "code": step.code if step else None,
            "status": "answered" if answered else execution.status if execution else "no_code",
            "output": said or (truncate_output(execution, self.max_observation_chars)[0] if execution else ""),
            "error": (execution.error or "")[: self.max_observation_chars] if execution else "",
        }
