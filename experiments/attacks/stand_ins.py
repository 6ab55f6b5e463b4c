"""Stand-ins for the servers of a run: a policy whose texts depend on the seed, and a web service of tools."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from checkouts import ROOT

from codetool.types import HttpRequest, Task, Tool, ToolAnswer, ToolCall

sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "experiments" / "faults")]

from chat_server import Reply, chat, serve_in_process  # type: ignore[import-not-found]  # noqa: E402

TASK = Task("t", "query", ())


class CountingTool:
    """Tool that answers every request of a sandbox at once."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, request: HttpRequest) -> ToolAnswer:
        self.calls += 1
        return ToolAnswer(ToolCall(request.method, request.url, {}), 200, '{"n": 1}', "replica")


def write_step(code: str, note: object = "") -> str:
    """Return a last step in the format of the stepwise prompt."""
    return f"##Step 1: answer {note}\nPython Code:\n```python\n{code}\n```\n[All Finished]"


@contextmanager
def serve_policy(spoil: Callable[[int, Reply], Reply] = lambda number, reply: reply) -> Iterator[Any]:
    """Serve a policy; `spoil` may change its n-th answer, counted from 1. Yields the server with its `requests`."""
    count = [0]

    def answer(body: dict[str, Any]) -> Reply:
        count[0] += 1
        seed, choices = int(body.get("seed") or 0), int(body.get("n") or 1)
        texts = (write_step(f"print({seed + i})", f"draw {seed + i}") for i in range(choices))
        return spoil(count[0], chat(*texts, tokens_out=6 * choices))

    with serve_in_process(answer) as server:
        yield server


def policy_words(server: Any, *words: str) -> list[str]:
    """Return the words of a run with a served policy and without a PRM."""
    model = ["policy=openai", "policy.model=m", f"policy.base_url={server.url}", "policy.backoff=0.01"]
    return [*model, "prm=none", "benchmark.split=dev", "logger=none", "concurrency=1", *words]


class WebService:
    """A service that repeats the path, spoils what it is told to, and remembers what it was asked."""

    def __init__(self, content: bytes, content_type: str) -> None:
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                service.asked.append(f"{self.command} {self.path} {self.headers.get('Authorization')}")
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_TRACE = do_PUT = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> WebService:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def make_task(url: str) -> Task:
    """Return a task with one film tool at a URL."""
    response = {"id": 1, "title": "text"}
    tool = Tool(name="GET_film", method="GET", server=url, path="/3/movie/{id}", summary="Film", response=response)
    return Task("film", "Which film?", (tool,))


def save_tiny_model(folder: Path) -> Path:
    """Save a random language model with a tokenizer, and return its folder."""
    from tiny_models import save  # type: ignore[import-not-found]

    save("qwen2", folder)
    return folder
