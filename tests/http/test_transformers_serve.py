"""A chat server that nobody here wrote: `transformers serve`, which silently ignores `n` and log-probabilities."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from command_line import CommandLine
from tiny_models import save

from codetool.http.chat_client import ChatClient
from codetool.http.endpoint import Endpoint

pytestmark = pytest.mark.slow
START_SECONDS = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its address, and the name of its model."""
    folder = tmp_path_factory.mktemp("model")
    save("qwen2", folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _is_up(port):
            assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.kill()
        process.wait()


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


async def test_all_candidates_come_although_the_server_ignores_n(
    server: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    url, model = server
    endpoint = Endpoint(base_url=url, model=model, key_env=None, concurrency=4, timeout=60, retries=2, backoff=0.1)
    messages = [{"role": "user", "content": "Name a film."}]
    async with ChatClient(endpoint) as client:
        with caplog.at_level(logging.WARNING):
            completion = await client.complete(messages, n=3, temperature=1.0, top_p=1.0, max_tokens=8, seed=0)
    assert len(completion.texts) == 3 and sum(completion.tokens_out) == 24
    assert "gave 1 of 3 candidates in one answer" in caplog.text


def test_a_prm_without_log_probabilities_is_one_line(server: tuple[str, str], run: CommandLine) -> None:
    url, model = server
    words = [f"{group}.{name}" for group in ("policy", "prm") for name in (f"base_url={url}", f"model={model}")]
    beside = ["policy=openai", "prm=qwen7b", "prm.backend=endpoint", "policy.max_tokens=8", "limit=1", "search.n=2"]
    done = run(*beside, *words, "search.depth=1", "logger=none", "policy.backoff=0.01", "prm.backoff=0.01")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{url} tells no log-probabilities of {model}" in done.stdout
    assert "1 tasks failed internally" in done.stdout
