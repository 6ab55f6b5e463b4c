"""What wandb wrote, read back: an offline run's transaction log, and a W&B server small enough for `wandb sync`."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768  # bytes; the log's format is LevelDB's, behind a header of its own
HEADER = 7


def records(run: Path) -> Iterator[Record]:
    """The records of an offline run's folder, in order."""
    [file] = run.glob("*.wandb")
    content, place, parts = file.read_bytes(), HEADER, b""
    assert content[:4] == b":W&B"
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


@dataclass
class Written:
    """An offline run as W&B will show it."""

    id: str = ""
    group: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    table: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What was logged, by step."""


def read(run: Path) -> Written:
    """The offline run in a folder."""
    written = Written()
    for record in records(run):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            written.id, written.group, written.project = record.run.run_id, record.run.run_group, record.run.project
            written.tags = list(record.run.tags)
            written.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            logged = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            written.summary |= logged
            written.history.setdefault(record.history.step.num, {}).update(logged)
        elif kind == "artifact":
            written.artifacts[record.artifact.name] = record.artifact.type
    for table in (run / "files" / "media" / "table").glob("*.json"):
        written.table = json.loads(table.read_text())
    return written


@dataclass
class WandBServer:
    """Requests as (path, body) and how GraphQL questions are answered."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, question: str, variables: dict[str, Any]) -> dict[str, Any]:
        """As much of an answer as wandb needs."""
        if "upsertBucket" in question:
            entity = {"id": "e", "name": "me"}
            bucket = {"id": "b", "name": variables["name"], "displayName": variables["name"], "config": "{}"}
            project = {"id": "p", "name": variables["project"], "entity": entity}
            return {"upsertBucket": {"bucket": bucket | {"project": project}, "inserted": True}}
        if "serverInfo" in question:
            return {"serverInfo": {"features": []}}
        if "createArtifact(" in question:
            latest = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
            return {"createArtifact": {"artifact": latest}}
        if "createRunFiles" in question:
            files = [{"name": name, "uploadUrl": f"{self.url}/store/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {"viewer": {"username": "me"}}


Misbehaviour = Callable[[str], int | None]
"""Of a request's text: a status to answer with, 0 to keep silent, None to behave."""


@contextmanager
def wandb_server(misbehave: Misbehaviour = lambda text: None) -> Iterator[WandBServer]:
    """A server on a free port while the context is open."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            text = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode("utf-8", "replace")
            server.requests.append((self.path, text))
            status = misbehave(text)
            if status == 0:
                released.wait(60)
                return
            answer: dict[str, Any] = {}
            if self.path == "/graphql" and status is None:
                asked = json.loads(text)
                answer = {"data": server.answer(asked["query"], asked.get("variables") or {})}
            content = json.dumps(answer).encode()
            self.send_response(status or 200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = respond

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = WandBServer(f"http://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        released.set()
        listener.shutdown()
        thread.join()
        listener.server_close()
