"""A baseline: the whole program in one pass, in the step format, without a look at what any part of it prints."""

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
    """The step format with one step: a program is finished, whether or not its model remembered the marker."""

    instruction: Template
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: Template
    """Jinja template of the message after an answer without code; sees `k`, `status`, `output`, `error`, `cut`."""
    max_observation_chars: PositiveInt
    """Highest number of characters of an output that are shown."""
    max_response_chars: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template of what ends the last message where steps were tried before; sees `k`, the number of the step that
    is asked for, and `ways`: of each `text` and what `result` sees but `k`. An empty one shows nothing."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for the program. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, format_finished_step)

    def stop(self, k: int) -> str:
        """The marker that closes step k (one-based)."""
        return format_stop_marker(k)

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The program as the last step of its path; a step without code is the last only if it says so."""
        step = step_parser.parse_step(raw, k)
        if step.finished or step.code is None:
            return step
        return replace(step, text=f"{step.text}\n{ALL_FINISHED}", finished=True)
