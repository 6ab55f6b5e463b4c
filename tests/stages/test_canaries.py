"""No key of the environment reaches a file, a stream or another process, whatever servers say."""

from __future__ import annotations

import gzip
import io
import json
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psutil
import pytest
from chat_server import Reply, chat, serve_in_process
from in_process import GROUPS
from rich.console import Console

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.stages.evaluate.run import run

STEP = """##Step 1: Look.
Python Code:
```
import os
print(sorted(os.environ.items()))
print(open("/proc/self/environ").read() if os.path.exists("/proc/self/environ") else "")
```
[Step 1 Finished]
[All Finished]"""
VARIABLES = (
    "OPENAI_API_KEY", "TMDB_API_KEY", "TOOLBENCH_KEY", "RAPIDAPI_KEY", "HF_TOKEN", "MY_PASSWORD",
    "AWS_SECRET_ACCESS_KEY", "DB_CREDENTIALS", "SESSION_COOKIE", "POLICY_ACCESS", "ANSWER_ACCESS", "JUDGE_ACCESS",
)  # fmt: skip
"""Variables that hold a key by their name, and three that only a setting names."""


def spell(secret: str) -> set[str]:
    """The forms in which a secret may leak."""
    base64 = {b64encode(text.encode()).decode().rstrip("=") for text in (secret, f"user:{secret}", f":{secret}")}
    percent = {quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="").lower()}
    return {secret, json.dumps(secret)[1:-1], secret.swapcase(), *percent, *base64}


def read_all(folder: Path) -> dict[Path, bytes]:
    contents = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and not file.is_symlink()}
    unpacked = {file: gzip.decompress(content) for file, content in contents.items() if content[:2] == b"\x1f\x8b"}
    return contents | unpacked


def find_leaks(secrets: dict[str, str], contents: dict[Any, bytes]) -> list[tuple[Any, str]]:
    forms = {form.encode(): name for name, secret in secrets.items() for form in spell(secret)}
    return [(place, name) for place, content in contents.items() for form, name in forms.items() if form in content]


def read_processes() -> dict[str, bytes]:
    """Command lines and environments of all processes below this one."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        for name in ("cmdline", "environ"):
            try:
                found[f"{process.pid} {name}"] = Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                continue
    return found


@pytest.mark.parametrize("tracker", ["none", pytest.param("wandb", marks=pytest.mark.slow)])
def test_no_canary_leaves_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tracker: str
) -> None:
    secrets = {name: f"cAnary/{name.lower()}+47=11" for name in VARIABLES}
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("WANDB_MODE", "offline")
    echo = " ".join(form for secret in secrets.values() for form in sorted(spell(secret)) if form != secret.swapcase())
    processes: dict[str, bytes] = {}
    failures = iter(range(4))

    def answer(body: dict[str, Any]) -> Reply:
        processes.update(read_processes())
        if next(failures, None) is not None:
            return Reply(500, {"error": {"message": f"the headers were {echo[:250]}"}})
        return chat(STEP, tokens_in=10)

    stream = io.StringIO()
    with serve_in_process(answer) as server:
        words = [
            f"outputs={tmp_path}", f"logger={tracker}", "policy=openai", "policy.model=m",
            f"policy.base_url={server.url}",
            "policy.key_env=POLICY_ACCESS", "policy.extra_body={user: me}", "policy.backoff=0.01", "prm=none",
            "benchmark.split=dev", "limit=1", "search=chain", "answer=openai", "answer.model=m", "answer.backoff=0.01",
            f"answer.base_url={server.url}", "answer.key_env=ANSWER_ACCESS", "judge=openai", "judge.model=m",
            "judge.key_env=JUDGE_ACCESS", f"judge.base_url={server.url}", "judge.backoff=0.01", "judge.votes=1",
        ]  # fmt: skip
        config = validate(compose_all(words)[0])
        groups = GROUPS | {"policy": "openai", "search": "chain", "prm": "none", "judge": "openai"}
        run(config, groups, Console(file=stream, width=400))
        used = {headers.get("authorization") for headers in server.headers}
    assert f"Bearer {secrets['POLICY_ACCESS']}" in used, "the key was used"
    files = read_all(tmp_path)
    assert {file.name for file in files} >= {"config.yaml", "provenance.json", "log.txt", "results.jsonl"}
    shown = capfd.readouterr()
    streams = {"console": stream.getvalue().encode(), "out": shown.out.encode(), "err": shown.err.encode()}
    # This process inherits the test's own environment only if a child was started from it before it was set.
    assert not find_leaks(secrets, files)
    assert not find_leaks(secrets, streams)
    assert processes and not find_leaks(secrets, processes)
