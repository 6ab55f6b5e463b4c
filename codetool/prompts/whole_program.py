"""The prompt of the one-pass baseline: the whole program as one step, without intermediate outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.prompts import step_parser
from codetool.prompts.messages import Message
from codetool.prompts.policy_prompt import Template, build_messages, format_finished_step
from codetool.prompts.step_format import ALL_FINISHED, format_stop_marker
from codetool.types import Node, Step, Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WholeProgramPrompt:
    """The step format with a single step. A program counts as finished even without the end marker."""

    instruction: Template
    """Jinja template of the first user message. Variables: `tools`, `query`, `observation`, `response`."""
    result: Template
    """Jinja template of the message after an answer without code; sees `k`, `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of an output that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template appended to the last message if steps were tried before. Variables: `k`, the number of the
    requested step, and `ways`, a list with `text` and the variables of `result` except `k`. Empty: no text is added."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """Return the messages that ask for the program. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, format_finished_step)

    def stop(self, k: int) -> str:
        """Return the marker that closes step k (one-based)."""
        return format_stop_marker(k)

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Parse the program as the last step of its path. A step without code is the last only with the end marker."""
        step = step_parser.parse_step(raw, k)
        if step.finished or step.code is None:
            return step
        return replace(step, text=f"{step.text}\n{ALL_FINISHED}", finished=True)
