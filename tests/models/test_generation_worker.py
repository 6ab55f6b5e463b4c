"""The order in which waiting requests are started."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tiny_models import save_random_model

from codetool.model_types import Weights
from codetool.models.decoder import load_decoder
from codetool.models.generation_worker import GenerationRequest, GenerationWorker

FIRST, OTHER = list(range(5, 45)), list(range(50, 90))


def request(prompt: list[int], name: str, order: list[str], tokens: int = 2) -> GenerationRequest:
    """A request that appends its name to `order` when it is done."""
    made = GenerationRequest(
        prompt=prompt, seeds=[0], temperature=0.0, top_p=1.0, max_tokens=tokens, is_ended=lambda written: False
    )
    made.result.add_done_callback(lambda _: order.append(name))
    return made


def test_a_path_that_has_begun_continues_before_another_begins(tmp_path: Path) -> None:
    save_random_model(tmp_path, "Llama")
    worker = GenerationWorker(lambda: load_decoder(Weights(tmp_path, None, "float32")), 1, 1000, 1)
    order: list[str] = []
    requests = [
        request(FIRST, "first step", order, tokens=60),  # takes so long that the others wait together
        request(OTHER, "another task", order),
        request(OTHER[::-1], "a third task", order),
        request([*FIRST, 1, 2, 3], "second step", order),
    ]
    worker.submit(requests[0])
    while not requests[0].candidates:  # its prompt is in the cache from here on
        time.sleep(0.001)
    for each in requests[1:]:
        worker.submit(each)
    for each in requests:
        each.result.result(timeout=20)
    worker.close()
    assert order == ["first step", "second step", "another task", "a third task"]
    assert requests[-1].cached_tokens == len(FIRST)


def test_a_cancelled_request_never_starts(tmp_path: Path) -> None:
    save_random_model(tmp_path, "Llama")
    worker = GenerationWorker(lambda: load_decoder(Weights(tmp_path, None, "float32")), 1, 1000, 1)
    order: list[str] = []
    running, cancelled, last = (request(FIRST, name, order, tokens=40) for name in ("running", "cancelled", "last"))
    for each in (running, cancelled, last):
        worker.submit(each)
    assert cancelled.result.cancel()
    last.result.result(timeout=20)
    worker.close()
    assert order == ["cancelled", "running", "last"]
    assert cancelled.candidates == []


def generate(folder: Path, draft_tokens: int) -> tuple[list[list[int]], list[list[float]], int]:
    """Return the tokens and log-probabilities of eight candidates of two prompts, and the number of passes."""
    worker = GenerationWorker(lambda: load_decoder(Weights(folder, None, "float32")), 32, 1000, 1, draft_tokens)
    decoder, passes = worker._thread.model, []
    step = decoder.step
    decoder.step = lambda *arguments: (passes.append(1), step(*arguments))[1]  # type: ignore[method-assign]
    requests = [
        GenerationRequest(
            prompt=prompt,
            seeds=range(4),
            temperature=0.15,
            top_p=0.9,
            max_tokens=60,
            is_ended=lambda text: text[-1] == 7,
        )
        for prompt in (FIRST, FIRST[::-1])
    ]
    found = [candidate for each in requests for candidate in worker.submit(each).result(timeout=20)]
    worker.close()
    return [each.tokens for each in found], [each.token_log_probabilities for each in found], len(passes)


def test_drafts_change_no_sample_and_save_passes(tmp_path: Path) -> None:
    save_random_model(tmp_path, "Llama")
    tokens, log_probabilities, passes = generate(tmp_path, 0)
    drafted, drafted_log_probabilities, fewer_passes = generate(tmp_path, 5)
    assert drafted == tokens
    assert len(set(map(tuple, tokens))) > 2  # candidates differ, so rows are split within drafts too
    for found, expected in zip(drafted_log_probabilities, log_probabilities, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    assert fewer_passes < 0.8 * passes
