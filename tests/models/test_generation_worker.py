"""The order in which waiting requests are started."""

from __future__ import annotations

import time
from pathlib import Path

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
