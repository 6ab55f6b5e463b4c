"""A policy whose weights are those of a tiny model that can be trained, and whose answers are a script.

It knows the reference programs of `tmdb_verified`. How many of its candidates are right depends on the round of
stage=improve whose adapter it has been given, so that a test decides whether success rises.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripted_policy import load_programs

from codetool.policies.model import ModelPolicyConfig
from codetool.types import Candidate, Node, Task

SKILLS_VARIABLE = "CODETOOL_TESTS_SKILLS"
"""Environment variable with the shares of right candidates in percent of rounds 0, 1, 2, …, `30,60,60`."""
LATENCY = 0.01


class TrainableStandIn(ModelPolicyConfig):
    """Settings of such a policy, chosen by `policy._target_`."""

    @asynccontextmanager
    async def open(self, servers: Any) -> AsyncIterator[Any]:
        skills = [int(skill) for skill in os.environ.get(SKILLS_VARIABLE, "40,60,80").split(",")]
        yield _Script(self.prompt, skills[min(_get_round(self.path), len(skills) - 1)])


def _get_round(path: Path | None) -> int:
    """The round that has made an adapter; 0 for a path of no round."""
    match = re.search(r"round-(\d+)/", str(path))
    return int(match[1]) if match else 0


@dataclass
class _Script:
    prompt: Any
    skill: int

    def with_prompt(self, prompt: Any, sampling: Any) -> _Script:
        return _Script(prompt, self.skill)

    async def propose(
        self, task: Task, path: Sequence[Node], n: int, *, first: int = 0, seed: int = 0, tried: Sequence[Node] = ()
    ) -> list[Candidate]:
        await asyncio.sleep(LATENCY)
        return [self._draw(task, path, index) for index in range(first, first + n)]

    def _draw(self, task: Task, path: Sequence[Node], index: int) -> Candidate:
        program, k = load_programs()[task.query], len(path)
        place = f"{task.id} {path[-1].id if path else 0} {index}"
        is_right = hashlib.sha256(place.encode()).digest()[0] * 100 // 256 < self.skill
        code = program[min(k, len(program) - 1)] if is_right else "print('no idea')"
        end = "[All Finished]\n" if k + 1 >= len(program) or not is_right else ""
        raw = f"##Step {k + 1}: go on\nPython Code:\n```python\n{code}\n```\n{end}"
        return Candidate(raw, self.prompt.parse(raw, k + 1, task), tokens_in=10, tokens_out=20, log_probability=-2.0)
