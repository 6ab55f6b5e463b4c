"""The two kinds of final answer: the output of the last step, or a text that a model composes from the path.

A composed answer is one more generation of a policy with another prompt, so it is drawn, recorded, resumed and replayed
like a step. Its tokens are counted apart from those of the search.
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

STOP_STRING = "[Answer Finished]"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PrintedAnswer:
    """Settings of an answer that is the output of the path's last step."""

    unfinished: Literal["none", "last_printed"]
    """The answer of a path that ends without the end marker. `none`: no answer, as in the paper. `last_printed`: the
    output of the last step if it ran, for models that never write the marker."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PolicyAnswer:
    """Settings of an answer that the policy itself composes."""

    temperature: Annotated[float, Field(ge=0)]
    """Sampling temperature; 0 is greedy."""
    max_tokens: PositiveInt
    """Maximum number of new tokens of the answer."""
    prompt: InstanceOf[Prompt]
    """Renders a path as the request for the answer."""

    @property
    def sampling(self) -> Sampling:
        """The sampling settings of the answer."""
        return Sampling(self.temperature, 1.0, self.max_tokens)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AnswerPrompt:
    """A Prompt that renders a task and its chosen path as the request for a final answer."""

    system: Template
    """Jinja template of the system message, without variables. An empty message is left out."""
    request: Template
    """Jinja template of the user message; sees `query`, `finished` and `steps`: of each `k` (one-based), `text` (its
    words without code), `code`, `status` (`answered`: in words), `output` and `error`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """Return the messages that ask for the answer. `tried` is ignored."""
        steps = [self._step_variables(k, node) for k, node in enumerate(path, start=1)]
        finished = bool(path and path[-1].finished)
        user = compile_template(self.request).render(query=task.query, finished=finished, steps=steps)
        system = compile_template(self.system).render().strip()
        first = [{"role": "system", "content": system}] if system else []
        return [*first, {"role": "user", "content": user}]

    def stop(self, k: int) -> str:
        """Return a stop string that no answer contains, so that the answer ends when the model ends its turn."""
        return STOP_STRING

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Return a finished step whose text is the visible part of the answer."""
        return Step(text=extract_visible_text(raw).partition(STOP_STRING)[0].strip(), code=None, finished=True)

    def _step_variables(self, k: int, node: Node) -> dict[str, object]:
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
