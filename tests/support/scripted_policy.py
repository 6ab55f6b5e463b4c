"""A chat server that knows the reference programs of `tmdb_verified` and gets some candidates wrong on purpose."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from chat_server import ChatServer, Handler, Reply, chat, serve_in_process

from codetool.benchmarks.tmdb_verified import load_all_rows

WRONG = ("print(undefined_name)", "print('no idea')", None)


@cache
def load_programs() -> dict[str, list[str]]:
    """The steps of the reference program of each query."""
    return {row["query"]: row["program"] for row in load_all_rows()}


class ScriptedPolicy:
    """Answers step k of a known query with its reference step; which candidates are wrong is fixed by the prompt."""

    def __init__(self, latency: float = 0.0) -> None:
        self.latency = latency
        self.programs = load_programs()

    async def __call__(self, body: dict[str, Any]) -> Reply:
        await asyncio.sleep(self.latency)
        prompt = str(body["messages"])
        first = body["messages"][0]["content"]
        program = next(steps for query, steps in self.programs.items() if query in first)
        k = sum(message["role"] == "assistant" for message in body["messages"])
        count = body.get("n", 1)
        return chat(*(self._step(program, k, self._wrong(prompt, i)) for i in range(count)), tokens_out=20 * count)

    def _wrong(self, prompt: str, i: int) -> int | None:
        """Which mistake candidate i makes, None for none; the first candidate is right."""
        draw = hashlib.sha256(f"{prompt}{i}".encode()).digest()[0]
        return None if i == 0 or draw < 100 else draw % len(WRONG)

    def _step(self, program: list[str], k: int, wrong: int | None) -> str:
        code = program[min(k, len(program) - 1)] if wrong is None else WRONG[wrong]
        block = f"Python Code:\n```python\n{code}\n```\n" if code else "I would rather not.\n"
        finished = "[All Finished]\n" if k + 1 >= len(program) else ""
        return f"##Step {k + 1}: go on\n{block}{finished}"


@contextmanager
def scripted_server(latency: float = 0.0, policy: Handler | None = None) -> Iterator[ChatServer]:
    """The server while the context is open, with another policy if one is given."""
    with serve_in_process(policy or ScriptedPolicy(latency)) as server:
        yield server
