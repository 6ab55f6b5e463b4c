"""A stand-in for Hugging Face's hub on a real socket: models with revisions, gates, and files that stop midway."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """What the hub has, and what it was asked for."""

    url: str = ""
    folders: dict[str, Path] = field(default_factory=dict)
    """Folder of the files of a commit."""
    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    """Commits of branches and tags by model."""
    gated: dict[str, str] = field(default_factory=dict)
    """Token that a gated model asks for."""
    hidden: set[str] = field(default_factory=set)
    """Models for whose every request the hub answers 401, as for private ones."""
    asked: list[str] = field(default_factory=list)
    """Method and path of each request."""
    tokens: set[str | None] = field(default_factory=set)
    """Values of the header Authorization."""
    hold: threading.Event | None = None
    """While it is set, the weights stop in their middle until this event."""
    sent_half: threading.Event = field(default_factory=threading.Event)

    def add(self, model: str, folder: Path, commit: str, *branches: str) -> None:
        """Let branches or tags of a model lead to a commit with the files of a folder."""
        self.folders[commit] = folder
        self.branches.setdefault(model, {}).update(dict.fromkeys(branches, commit))

    def count(self, start: str, end: str = "") -> int:
        """The number of requests whose method and path have this start and end."""
        return sum(each.startswith(start) and each.endswith(end) for each in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path}")
        hub.tokens.add(self.headers["Authorization"])
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        owner, name, kind, revision, *rest = (parts[2:] if is_api else parts) + [""] * 4
        model, file = f"{owner}/{name}", "/".join(rest).strip("/")
        if model in hub.hidden:
            return self._refuse(401, "RepoNotFound")
        if model not in hub.branches:
            return self._refuse(404, "RepoNotFound")
        commit = hub.branches[model].get(revision, revision)
        if commit not in hub.folders:
            return self._refuse(404, "RevisionNotFound")
        if not is_api and model in hub.gated and self.headers["Authorization"] != f"Bearer {hub.gated[model]}":
            return self._refuse(403 if self.headers["Authorization"] else 401, "GatedRepo")
        if not is_api:
            return self._send_file(hub.folders[commit] / file, commit)
        files = sorted(path for path in hub.folders[commit].rglob("*") if path.is_file())
        names = {str(path.relative_to(hub.folders[commit])): path.stat().st_size for path in files}
        if kind == "tree":
            return self._send_json([{"type": "file", "path": n, "size": s, "oid": n} for n, s in names.items()])
        siblings = [{"rfilename": name, "size": size} for name, size in names.items()]
        gated = "manual" if model in hub.gated else False
        return self._send_json({"id": model, "sha": commit, "gated": gated, "siblings": siblings})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send_json(self, content: Any) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send_file(self, file: Path, commit: str) -> None:
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        content = file.read_bytes()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(206 if first else 200, content[first:], headers, held=file.suffix == ".safetensors")
        return None

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, held: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(content) // 2 if held and self.hub.hold else 0
        try:
            self.wfile.write(content[:half])
            if held and self.hub.hold:
                self.hub.sent_half.set()
                self.hub.hold.wait(30)
            self.wfile.write(content[half:])
        except ConnectionError:
            self.close_connection = True  # the client is gone


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """The hub while the context is open, on a free port of 127.0.0.1."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        if hub.hold:
            hub.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
