"""Stand-ins for all services of a run, whose answers depend on the request alone: models, PRM servers and film tools.

Chat requests are recognised by their prompt: a policy's, a PRM's (it asks for log-probabilities), a judge's, an answer
writer's or a simulator's. Choice i of a request with seed s is that of a request for one choice with seed s + i, as in
vLLM and llama.cpp.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fault_proxy import Exchange

from codetool.types import Answer, Task, Tool

STEPS = (
    'import requests\nfound = requests.get("{server}/3/search/movie", params={{"query": "{query} {way}"}}).json()\n'
    'film = found["results"][0]["id"]\nprint(film)',
    'cast = requests.get("{server}/3/movie/" + str(film) + "/credits").json()["cast"]\nprint(cast)',
    'print(cast[0]["name"])',
)
"""The program of each step; `way` differs between siblings and decides what they find."""
TOKENS_IN, TOKENS_OUT = 1000, 80
MAX_CHATS = 8


def draw(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    return random.Random(json.dumps([str(part) for part in parts])).random()


def make_tools(server: str) -> tuple[Tool, ...]:
    """Return the documents of the two film tools."""
    search = Tool(
        name="GET_search_movie", method="GET", server=server, path="/3/search/movie", summary="Find films",
        response={"page": 1, "results": [{"id": 1, "title": "text"}]},
    )  # fmt: skip
    credits = Tool(
        name="GET_credits", method="GET", server=server, path="/3/movie/{movie_id}/credits", summary="List the cast",
        response={"id": 1, "cast": [{"name": "text"}]},
    )  # fmt: skip
    return search, credits


@dataclass(frozen=True)
class StandInBenchmark:
    """Tasks of the film tools at one address."""

    server: str
    count: int

    def tasks(self) -> Sequence[Task]:
        """Return the tasks; the right answers are those of the first way."""
        return [
            Task(f"film-{i:03}", f"Who plays in film {i:03}?", make_tools(self.server), answer=Answer("name", _cast(i)))
            for i in range(self.count)
        ]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the answer names the right person."""
        return task.answer is not None and str(task.answer.value) in (answer or "")

    def checksum(self) -> str:
        """Return the number of tasks."""
        return f"stand-in-{self.count}"


def _cast(film: int) -> str:
    return f"Person {film:03}"


@dataclass
class StandInServices:
    """All services; `tool_server` is the address under which the programs find the film tools."""

    tool_server: str = ""

    async def answer(self, exchange: Exchange) -> tuple[int, str, bytes]:
        """Return the status, content type and body of the proper answer to a request."""
        url = urlsplit(exchange.target)
        if exchange.method == "POST":
            body = json.loads(exchange.body)
            routes = {"/score": _score, "/generate": _generate, "/v1/chat/completions": self._chat}
            content = routes[url.path](body)
        else:
            content = _get(url.path, parse_qs(url.query))
        status, body_bytes = (404, b"{}") if content is None else (200, json.dumps(content).encode())
        return status, "application/json", body_bytes

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a chat completion with as many choices as asked for."""
        messages, count, seed = body["messages"], int(body.get("n") or 1), int(body.get("seed") or 0)
        choices: list[dict[str, Any]] = []
        for i in range(count):
            text = self._write(messages, seed + i)
            choice = {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            choices.append(choice | (_logprobs(messages) if body.get("logprobs") else {}))
        usage = {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT * count}
        return {"object": "chat.completion", "model": "m", "choices": choices, "usage": usage}

    def _write(self, messages: Sequence[dict[str, str]], seed: int) -> str:
        """Return the text that the model of this prompt writes."""
        first, last = messages[0]["content"], messages[-1]["content"]
        if "You stand in for a web service" in first:
            return _simulate(last)
        if "You answer a user's question" in first:
            film = int(last.rsplit("Who plays in film ", 1)[1][:3])
            return f"It is {_cast(film)}, by draw {draw(messages, seed):.3f}."
        if "Does the answer solve the task?" in last:
            return "yes" if draw(messages, seed) < 0.7 else "no"
        return self._write_step(messages, seed)

    def _write_step(self, messages: Sequence[dict[str, str]], seed: int) -> str:
        """Return the next step of the film program, in the format of the stepwise prompt."""
        k = 1 + sum(message["role"] == "assistant" for message in messages)
        film = json.dumps(messages).rsplit("Who plays in film ", 1)[1][:3]
        way = int(draw("way", seed) < 0.4)
        code = STEPS[min(k, len(STEPS)) - 1].format(server=self.tool_server, query=film, way=way)
        end = "\n[All Finished]" if k >= len(STEPS) else ""
        return f"##Step {k}: part {k}, draw {seed}\nPython Code:\n```python\n{code}\n```{end}\n"


def _get(path: str, query: dict[str, list[str]]) -> Any:
    """Return the content of a path, None for an unknown one."""
    if path == "/v1/models":
        return {"object": "list", "data": [{"id": "m", "object": "model"}]}
    if path == "/health":
        return {"status": "ok", "model": "m", "trained": True, "checksum": None, "max_chats": MAX_CHATS}
    if path == "/3/search/movie":
        words = query["query"][0].split()
        return {"page": 1, "results": [{"id": 1000 * int(words[1]) + int(words[0]), "title": query["query"][0]}]}
    if path.startswith("/3/movie/"):
        film = int(path.split("/")[3])
        return {"id": film, "cast": [{"name": _cast(film) if film < 1000 else "Nobody"}]}
    return None


def _score(body: dict[str, Any]) -> dict[str, Any]:
    chats = body["messages"]
    return {"scores": [draw(chat) for chat in chats], "tokens": 50 * len(chats), "tokens_asked": 60 * len(chats)}


def _generate(body: dict[str, Any]) -> dict[str, Any]:
    return {"response": draw(body["messages"])}


def _logprobs(messages: Sequence[dict[str, str]]) -> dict[str, Any]:
    yes = 0.05 + 0.9 * draw(messages)
    top = [{"token": "yes", "logprob": math.log(yes)}, {"token": "no", "logprob": math.log(1 - yes)}]
    return {"logprobs": {"content": [{"token": "yes", "logprob": math.log(yes), "top_logprobs": top}]}}


def _simulate(prompt: str) -> str:
    """Return a simulated tool answer."""
    arguments = json.loads(prompt.rsplit("New call: ", 1)[1])
    if "query" in arguments:
        words = arguments["query"].split()
        response = {"page": 1, "results": [{"id": 1000 * int(words[1]) + int(words[0]), "title": "simulated"}]}
    else:
        film = int(arguments["movie_id"])
        response = {"id": film, "cast": [{"name": _cast(film % 1000)}]}
    return json.dumps({"error": "", "response": response})
