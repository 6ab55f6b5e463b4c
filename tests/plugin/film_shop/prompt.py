"""Prompt: the whole program in one fenced block, without a step format."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.types import Node, Step, Task

CODE_BLOCK = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FencedPrompt:
    """Asks for one program, which prints the answer."""

    instruction: str
    """Text before the query."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[dict[str, str]]:
        """Return the message that asks for the program."""
        tools = "\n".join(f"{tool.method} {tool.server}{tool.path}: {tool.summary}" for tool in task.tools)
        return [{"role": "user", "content": f"{self.instruction}\n{tools}\n{task.query}"}]

    def stop(self, k: int) -> str:
        """Return a text at which generation stops."""
        return "\n\n\n"

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Return the first fenced block as the only step of the path."""
        block = CODE_BLOCK.search(raw)
        return Step(raw.strip(), block[1] if block else None, block is not None)
