"""Server that stands in for a policy model, a PRM and a film service with fixed latencies, to time a framework.

Usage: python experiments/performance/stand_in_stack.py --port 8900 [--llm 1.0] [--prm 0.15] [--tool 0.2] [--steps 3]

    POST /v1/chat/completions     an OpenAI-compatible chat: the next step of a search-fetch-print program
    POST /generate                a PRM like the reference implementation's: {"response": 0.7}
    GET /3/search/movie, /3/movie/{id}/credits    the two calls of that program
    GET /stats                    calls by kind, times of the first and last, maximum of concurrent chat requests

Times are the seconds that each call waits. The server computes almost nothing, so a measurement shows its client.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

CLOSED = re.compile(r"\[Step (\d+) Finished\]")
PROGRAMS = (
    'import requests\nfound = requests.get("{url}/3/search/movie", headers=headers, params={{"query": "film {way}"}})\n'
    'film = found.json()["results"][0]\nprint(film)',
    'credits = requests.get("{url}/3/movie/" + str(film["id"]) + "/credits", headers=headers).json()\nprint(credits)',
    'print(credits["cast"][0]["name"])',
)
"""The program of each step; siblings of the first search for different films, so that they are not merged."""
TOKENS_IN, TOKENS_OUT = 1000, 80
STEPS = len(PROGRAMS)
"""Steps of the program; a longer one asks for the credits more often."""


@dataclass
class Stack:
    """The three services and their counters."""

    url: str
    """Address under which the programs find the film service."""
    llm: float
    """Seconds of a chat request."""
    prm: float
    """Seconds of a PRM request."""
    tool: float
    """Seconds of a call of the film service."""
    steps: int = STEPS
    """Steps of the program, at least 3."""
    calls: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    """Time at which the first chat request came, in seconds since 1970."""
    last: float | None = None
    """Time of the latest answer."""
    in_flight: int = 0
    """Chat requests under way."""
    max_in_flight: int = 0
    """The highest number of them at once."""

    def app(self) -> Starlette:
        """Return the ASGI app of all services."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/generate", self.score, methods=["POST"]),
            Route("/3/search/movie", self.search),
            Route("/3/movie/{film:int}/credits", self.credits),
            Route("/stats", self.stats),
        ]
        return Starlette(routes=routes)

    async def chat(self, request: Request) -> JSONResponse:
        """Return the next step, `n` times."""
        body = await request.json()
        count = int(body.get("n") or 1)
        self.first = self.first or time.time()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.llm)
        finally:
            self.in_flight -= 1
        self._count("llm")
        self.calls["llm_choices"] += count
        k = next_step(body["messages"], self.steps)
        texts = [write_step(k, way, self.url, self.steps) for way in range(count)]
        return JSONResponse({"object": "chat.completion", "model": body.get("model"), **as_completion(texts)})

    async def models(self, request: Request) -> JSONResponse:
        """Return the name of the model."""
        return JSONResponse({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def score(self, request: Request) -> JSONResponse:
        """Return the same score for every chat."""
        await request.body()
        await asyncio.sleep(self.prm)
        self._count("prm")
        return JSONResponse({"response": 0.7})

    async def search(self, request: Request) -> JSONResponse:
        """Return one film for every query."""
        await asyncio.sleep(self.tool)
        self._count("api")
        film = {"id": 603, "title": request.query_params.get("query", ""), "release_date": "1999-03-31"}
        return JSONResponse({"page": 1, "results": [film], "total_pages": 1, "total_results": 1})

    async def credits(self, request: Request) -> JSONResponse:
        """Return the same cast for every film."""
        await asyncio.sleep(self.tool)
        self._count("api")
        cast = [{"id": 1, "name": "Ada Example", "character": "Herself"}]
        return JSONResponse({"id": request.path_params["film"], "cast": cast, "crew": []})

    async def stats(self, request: Request) -> JSONResponse:
        """Return all counters."""
        counts = {kind: self.calls[kind] for kind in ("llm", "llm_choices", "prm", "api")}
        return JSONResponse({**counts, "first": self.first, "last": self.last, "max_inflight": self.max_in_flight})

    def _count(self, kind: str) -> None:
        self.calls[kind] += 1
        self.last = time.time()


def next_step(messages: list[dict[str, Any]], steps: int = STEPS) -> int:
    """Return the number (from 1) of the step that a chat asks for, from the markers in the assistant's messages."""
    said = "\n".join(str(message["content"]) for message in messages if message["role"] == "assistant")
    return min(1 + max((int(k) for k in CLOSED.findall(said)), default=0), steps)


def write_step(k: int, way: int, url: str, steps: int = STEPS) -> str:
    """Return step k in the step format, without its closing marker."""
    search, ask, answer = PROGRAMS
    template = search if k == 1 else answer if k == steps else ask
    program = template if template is answer else template.format(url=url, way=way)
    end = "\n[All Finished]" if k == steps else ""
    return f"##Step {k}: part {k} of the program\nPython Code:\n```python\n{program}\n```{end}\n"


def as_completion(texts: list[str]) -> dict[str, Any]:
    """Return the fields of a chat completion with the text and the token counts."""
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for i, text in enumerate(texts)
    ]
    out = TOKENS_OUT * len(texts)
    usage = {"prompt_tokens": TOKENS_IN, "completion_tokens": out, "total_tokens": TOKENS_IN + out}
    return {"choices": choices, "usage": usage}


def main() -> None:
    """Serve until Ctrl-C."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=8900)
    arguments.add_argument("--llm", type=float, default=1.0, help="seconds of a chat request")
    arguments.add_argument("--prm", type=float, default=0.15, help="seconds of a PRM request")
    arguments.add_argument("--tool", type=float, default=0.2, help="seconds of a call of the film service")
    arguments.add_argument("--steps", type=int, default=STEPS, help="steps of the program")
    options = arguments.parse_args()
    stack = Stack(f"http://127.0.0.1:{options.port}", options.llm, options.prm, options.tool, options.steps)
    uvicorn.run(stack.app(), host="127.0.0.1", port=options.port, log_level="error", backlog=4096)


if __name__ == "__main__":
    main()
