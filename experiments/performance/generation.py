"""Benchmark: our decoder against transformers' `generate` on the work of a beam search, several prompts with n samples.

Usage: python experiments/performance/generation.py [--prompts 6] [--candidates 2] [--tokens 128]

Both sides generate the same number of tokens for the same prompts, with SmolLM2-135M in bfloat16 at temperature 0.9 and
top_p 0.95; prefill is included. Each side runs in its own process. `generate` gets all prompts as one padded batch with
`num_return_sequences`. In a second round each prompt is extended, as by the next step of a path; `generate` cannot
reuse the first round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WORDS = "Search the film, read its credits, print the name of the director and the date of the release. "


def ours(prompts: int, candidates: int, tokens: int) -> list[float]:
    """Return the seconds of the first round and of the round that extends it."""
    import torch

    from codetool.models.generation_worker import GenerationRequest, GenerationWorker
    from codetool.models.llama_decoder import LlamaDecoder
    from codetool.models.smollm2 import ensure_smollm2

    folder = ensure_smollm2()
    worker = GenerationWorker(lambda: LlamaDecoder(folder, torch.bfloat16), rows=32, prefix_tokens=32768, threads=None)
    texts = encoded(folder, prompts)
    seconds = []
    for extra in ([], list(range(300, 600))):
        began = time.perf_counter()
        requests = [
            GenerationRequest(
                [*text, *extra], range(i, i + candidates), 0.9, 0.95, tokens, is_ended=lambda written: False
            )
            for i, text in enumerate(texts)
        ]
        for result in [worker.submit(request) for request in requests]:
            assert [len(written.tokens) for written in result.result()] == [tokens] * candidates
        seconds.append(time.perf_counter() - began)
    worker.close()
    return seconds


def library(prompts: int, candidates: int, tokens: int) -> list[float]:
    """Return the seconds of the same two rounds with transformers' `generate`."""
    import torch
    from transformers import AutoModelForCausalLM

    from codetool.models.smollm2 import ensure_smollm2

    folder = ensure_smollm2()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    texts = encoded(folder, prompts)
    seconds = []
    for extra in ([], list(range(300, 600))):
        longest = max(map(len, texts)) + len(extra)
        rows = [[*text, *extra] for text in texts]
        inputs = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        began = time.perf_counter()
        with torch.inference_mode():
            written = model.generate(
                inputs, attention_mask=mask, do_sample=True, temperature=0.9, top_p=0.95, top_k=0, pad_token_id=0,
                num_return_sequences=candidates, min_new_tokens=tokens, max_new_tokens=tokens,
            )  # fmt: skip
        assert written.shape == (prompts * candidates, longest + tokens)
        seconds.append(time.perf_counter() - began)
    return seconds


def encoded(folder: Path, prompts: int) -> list[list[int]]:
    """Return prompts of 1,500 tokens that differ from the first token on."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [tokenizer.encode(f"Query {i}: " + WORDS * 100).ids[:1500] for i in range(prompts)]


def main() -> None:
    """Run both sides alternately, print the ratios and store them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--prompts", 6), ("--candidates", 2), ("--tokens", 128)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--side", choices=["ours", "library"], help="run one side and print its seconds")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("prompts", "candidates", "tokens")}
    if options.side:
        print(json.dumps({"ours": ours, "library": library}[options.side](**sizes)))
        return
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    seconds: dict[str, list[float]] = {}
    for side in ("ours", "library"):
        command = [sys.executable, __file__, "--side", side, *words]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds[side] = [round(figure, 2) for figure in json.loads(done.stdout.splitlines()[-1])]
    report(sizes, seconds)


def report(sizes: dict[str, int], seconds: dict[str, list[float]]) -> None:
    """Print and store the figures."""
    written = sizes["prompts"] * sizes["candidates"] * sizes["tokens"]
    figures: dict[str, Any] = {
        "command": "python experiments/performance/generation.py",
        "sizes": sizes | {"prompt_tokens": 1500, "added_tokens": 300},
        "cores": os.cpu_count(),
        "seconds": {side: dict(zip(("first_step", "next_step"), both, strict=True)) for side, both in seconds.items()},
        "tokens_per_second": {side: [round(written / each, 1) for each in both] for side, both in seconds.items()},
        "times_faster": [round(b / a, 1) for a, b in zip(seconds["ours"], seconds["library"], strict=True)],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "generation.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
