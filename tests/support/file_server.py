"""A server of files on a real socket that cuts them short, sends others or stays silent on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class FileServer:
    """Contents by path, behaviours that replace the answer of a path, and every path that was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    instead: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def respond_completely(content: bytes, *, status: int = 200, claimed: int | None = None) -> Behaviour:
    """An answer with this content, whose length may be claimed to be another."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        request.end_headers()
        request.wfile.write(content)

    return answer


def respond_slowly(content: bytes, started: threading.Event, go_on: threading.Event) -> Behaviour:
    """An answer that stops in its middle until it may go on."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        started.set()
        go_on.wait(60)
        request.wfile.write(content[len(content) // 2 :])

    return answer


@contextmanager
def file_server() -> Iterator[FileServer]:
    """The server while the context is open, on a free port of 127.0.0.1."""
    served = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            missing = respond_completely(b"404: Not Found", status=404)
            present = respond_completely(served.files[self.path]) if self.path in served.files else missing
            try:
                served.instead.get(self.path, present)(self)
            except ConnectionError:
                pass  # the client is gone

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
