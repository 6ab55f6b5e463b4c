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
        if place + HEADER + size > len(content):
            return  # it is being written, or was when its writer was killed
        parts += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


@dataclass
class Written:
    """An offline run as W&B will show it."""

    id: str = ""
    name: str = ""
    group: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    """The type of each artifact that it made."""
    used: dict[str, str] = field(default_factory=dict)
    """The type of each artifact that it used."""
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    """The digest of each file of each artifact."""
    table: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """What was logged, in order."""
    system: list[dict[str, Any]] = field(default_factory=list)
    """What was measured of the machine, in order."""
    exit_code: int | None = None
    """None while it is going on, and if its writer was killed."""


def values(items: Any) -> dict[str, Any]:
    """Keys and values of a record."""
    return {".".join(getattr(item, "nested_key", ())) or item.key: json.loads(item.value_json) for item in items}


def read(run: Path) -> Written:
    """The offline run in a folder, which may be going on."""
    written = Written()
    for record in records(run):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            written.id, written.group, written.project = record.run.run_id, record.run.run_group, record.run.project
            written.name, written.tags = record.run.display_name, list(record.run.tags)
            written.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            logged = values(record.history.item)
            written.summary |= logged
            written.history.append(logged)
        elif kind == "summary":
            written.summary |= values(record.summary.update)
        elif kind == "stats":
            written.system.append(values(record.stats.item))
        elif kind == "exit":
            written.exit_code = record.exit.exit_code
        elif kind == "artifact":
            place = written.used if record.artifact.use_after_commit else written.artifacts
            place[record.artifact.name] = record.artifact.type
            contents = record.artifact.manifest.contents
            written.files[record.artifact.name] = {item.path: item.digest for item in contents}
    for table in (run / "files" / "media" / "table").glob("*.json"):
        written.table = json.loads(table.read_text())
    return written


@dataclass
class WandBServer:
    """Requests as (path, body), how GraphQL questions are answered, and the one run that the server stores."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The lines of the run's history, by number."""
    summary: dict[str, Any] = field(default_factory=dict)
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Workspaces and reports by their id."""

    def store(self, files: dict[str, Any]) -> None:
        """Keep what a client streams: lines from an offset on."""
        for name, chunk in files.items():
            lines = [json.loads(line) for line in chunk["content"]]
            if name == "wandb-history.jsonl":
                self.history |= {chunk["offset"] + number: line for number, line in enumerate(lines)}
            elif name == "wandb-summary.json":
                self.summary = lines[-1]

    def describe_run(self) -> dict[str, Any] | None:
        """What a client that resumes the run asks for."""
        if not self.history:
            return None
        last = self.history[max(self.history)]
        return {
            "id": "b", "name": "run", "displayName": "run", "tags": [], "notes": "", "config": "{}",
            "summaryMetrics": json.dumps(self.summary), "wandbConfig": json.dumps({"t": {}}),
            "historyLineCount": max(self.history) + 1, "historyTail": json.dumps([json.dumps(last)]),
            "eventsLineCount": 0, "eventsTail": "[]", "logLineCount": 0,
        }  # fmt: skip

    def answer(self, question: str, variables: dict[str, Any]) -> dict[str, Any]:
        """As much of an answer as wandb needs."""
        if "RunResumeStatus" in question:
            entity = {"id": "e", "name": "me"}
            return {"model": {"id": "p", "name": "codetool", "entity": entity, "bucket": self.describe_run()}}
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
        if "upsertView" in question:
            return {"upsertView": {"view": self.store_view(variables), "inserted": True}}
        if "ProjectInternalId" in question:
            return {"project": {"id": "p", "internalId": "UHJvamVjdDox"}}
        if "GetProjects" in question:
            return {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
        return {"viewer": {"id": "u", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}}}

    def store_view(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Number a workspace or a report, unless it has an id already."""
        view_id = variables.get("id") or f"view-{len(self.views) + 1}"
        self.views[view_id] = variables
        project = {"id": "p", "name": variables["projectName"], "entityName": variables["entityName"]}
        names = {name: variables[name] for name in ("name", "displayName", "description", "type", "spec")}
        return {"id": view_id, **names, "project": project, "updatedAt": "2026-01-01T00:00:00"}


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
            elif self.path.endswith("/file_stream") and status is None:
                server.store(json.loads(text).get("files") or {})
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
