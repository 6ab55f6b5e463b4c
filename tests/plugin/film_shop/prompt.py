"""Prompts: a policy's, which asks for the whole program in one fenced block, and a PRM's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.types import Execution, Node, Step, Task

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


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PlainScoringPrompt:
    """Shows a PRM the query and the texts of the steps, one below the other."""

    question: str
    """Text before the query."""

    def messages(
        self, task: Task, path: Sequence[Node], step: Step, execution: Execution | None = None
    ) -> list[dict[str, str]]:
        """Return the message that asks for the score of a step."""
        return self.with_candidate(self.prefix_messages(task, path), len(path) + 1, step.text)

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[dict[str, str]]:
        """Return the message without the step."""
        texts = [node.step.text for node in path if node.step]
        return [{"role": "user", "content": "\n".join([self.question, task.query, *texts])}]

    def with_candidate(self, prefix: Sequence[Mapping[str, str]], k: int, text: str) -> list[dict[str, str]]:
        """Return the messages with the text of the step appended to the last."""
        *before, last = map(dict, prefix)
        return [*before, {**last, "content": f"{last['content']}\n{text}"}]
