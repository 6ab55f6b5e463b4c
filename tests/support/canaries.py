"""Keys planted in the environment, and the search for them in everything that a command leaves or starts."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest
from chat_server import Handler, Reply
from rich.console import Console

VARIABLES = (
    "OPENAI_API_KEY", "TMDB_API_KEY", "TOOLBENCH_KEY", "RAPIDAPI_KEY", "HF_TOKEN", "MY_PASSWORD",
    "AWS_SECRET_ACCESS_KEY", "DB_CREDENTIALS", "SESSION_COOKIE", "POLICY_ACCESS", "ANSWER_ACCESS", "JUDGE_ACCESS",
    "SIMULATOR_ACCESS", "SERVICE_ACCESS",
)  # fmt: skip
"""Variables that hold a key by their name, and five that only a setting names."""


def spell(secret: str) -> set[str]:
    """Return the forms in which a secret may leak."""
    base64 = {b64encode(text.encode()).decode().rstrip("=") for text in (secret, f"user:{secret}", f":{secret}")}
    percent = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="").lower()}
    return {secret, json.dumps(secret)[1:-1], secret.swapcase(), *percent, *base64}


@dataclass
class Canaries:
    """Planted keys by variable, and what other processes could read of them."""

    secrets: dict[str, str]
    processes: dict[str, bytes] = field(default_factory=dict)
    """Command lines and environments of processes below this one, kept whenever a server was asked."""
    console: io.StringIO = field(default_factory=io.StringIO)

    def bearer(self, variable: str) -> str:
        """Return the header that carries a key."""
        return f"Bearer {self.secrets[variable]}"

    def repeat(self, variable: str) -> str:
        """Return the forms of a key that its own server could write into a text."""
        secret = self.secrets[variable]
        return " ".join(sorted(spell(secret) - {secret.swapcase()}))

    def make_console(self) -> Console:
        """Return a console whose text is searched too."""
        return Console(file=self.console, width=400)

    def wrap(self, variable: str, handler: Handler, failures: int = 2) -> Handler:
        """Return a handler that looks at all processes, and that first fails with texts that repeat the key."""
        left = iter(range(failures))

        def answer(body: dict[str, Any]) -> Any:
            self.look_at_processes()
            if next(left, None) is not None:
                return Reply(500, {"error": {"message": f"the headers were {self.repeat(variable)[:250]}"}})
            return handler(body)

        return answer

    @contextlib.contextmanager
    def watch_processes(self) -> Iterator[None]:
        """Look at all processes again and again while the context is open, for stages that ask no server."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                self.look_at_processes()

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def look_at_processes(self) -> None:
        """Keep the command lines and environments of all processes below this one."""
        own_command = Path("/proc/self/cmdline").read_bytes()
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process.pid}/cmdline").read_bytes() == own_command:
                    continue  # it was forked a moment ago and still is what this process is
            for name in ("cmdline", "environ"):
                try:
                    self.processes[f"{process.pid} {name}"] = Path(f"/proc/{process.pid}/{name}").read_bytes()
                except OSError:
                    continue

    def find(self, contents: Mapping[Any, bytes]) -> list[tuple[Any, str]]:
        """Return every place whose content holds a key in some form, with the key's variable."""
        forms = {form.encode(): name for name, secret in self.secrets.items() for form in spell(secret)}
        return [(place, name) for place, content in contents.items() for form, name in forms.items() if form in content]

    def assert_nowhere(self, folder: Path, **texts: str) -> dict[Path, bytes]:
        """Fail if a key is in a file below the folder, on the console, in a text or in a process. Return the files."""
        files = read_all(folder)
        shown = {name: text.encode() for name, text in (texts | {"console": self.console.getvalue()}).items()}
        leaks = self.find({**files, **shown, **self.processes})
        assert not leaks, leaks
        return files


def plant(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    """Set every variable to a key of its own, and let W&B write its folder without a server."""
    secrets = {name: f"cAnary/{name.lower()}+47=11" for name in VARIABLES}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return Canaries(secrets)


def read_all(folder: Path) -> dict[Path, bytes]:
    """Return the content of all files below a folder; of compressed ones, what they hold."""
    contents = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and not file.is_symlink()}
    unpacked = {file: gzip.decompress(content) for file, content in contents.items() if content[:2] == b"\x1f\x8b"}
    return contents | unpacked
