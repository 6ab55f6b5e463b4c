"""Benchmark: the in-process PRM against a server built like the reference's, on candidates of reference programs.

Usage: python experiments/performance/prm_scoring.py [--tasks 2] [--candidates 4] [--precision bfloat16] [--threads 1]

Both sides score the same prompts with SmolLM2-135M. At every step of some reference programs of `tmdb_verified` there
are n variants of that step, which differ from the first line on, after the previous steps with an observation of 1,000
characters each. The reference-like side handles one request at a time, reads each prompt from its first token and
generates three tokens; its score is the softmax of the two labels at the first generated token, so that scores can be
compared. Each side runs in its own process. Reported are CPU seconds, which on one thread do not depend on the load of
the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.benchmarks.tmdb_verified import load_all_rows
from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.prm.generative import GenerativePRM
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.types import Execution, Node, Step, Task

RESULTS = Path(__file__).parent / "results"
OBSERVED = 1000
"""Characters of an observation."""
LONGEST = 4
"""Steps of a program that are scored at most."""


@dataclass(frozen=True)
class Siblings:
    """Candidates after a path."""

    task: Task
    path: Sequence[Node]
    candidates: Sequence[Step]


def workload(tasks: int, candidates: int) -> list[list[Siblings]]:
    """Return the candidates after every step of the reference program, for each of the given number of tasks."""
    config = validate(compose_all(["benchmark=tmdb_verified", "benchmark.split=dev"])[0])
    programs = {row["query"]: row["program"] for row in load_all_rows()}
    long = [task for task in config.benchmark.tasks() if len(programs[task.query]) >= LONGEST - 1]
    return [_steps(task, programs[task.query][:LONGEST], candidates) for task in long[:: len(long) // tasks][:tasks]]


def _steps(task: Task, program: Sequence[str], candidates: int) -> list[Siblings]:
    printed = " ".join(json.dumps(tool.response) for tool in task.tools)
    here, path, made = Node(id="0"), list[Node](), list[Siblings]()
    for k, code in enumerate(program, start=1):
        texts = [f"##Step {k}: Way {i} on.\nPython Code:\n```python\n{code}\n```" for i in range(candidates)]
        steps = [Step(text, code, finished=False) for text in texts]
        made.append(Siblings(task, tuple(path), steps))
        ran = Execution("ok", printed[k * 100 : k * 100 + OBSERVED])
        here = Node(id=f"{here.id}-1", parent=here, depth=k, step=steps[0], execution=ran)
        path.append(here)
    return made


def _settings(precision: str, threads: int) -> GenerativePRM:
    words = ["prm=smollm2", "prm.path=null", "prm_prompt@prm.prompt=stepwise"]
    prm = validate(compose_all([*words, f"prm.precision={precision}", f"prm.threads={threads}"])[0]).prm
    assert isinstance(prm, GenerativePRM)
    return prm


class _NoServers:
    async def serve(self, weights: Any) -> Any:
        raise AssertionError("this PRM runs in process")


def ours(tasks: int, candidates: int, precision: str, threads: int) -> tuple[float, list[float], int]:
    """Return CPU seconds, scores and tokens read. Tasks run in parallel, the steps of a task one after the other."""

    async def judge() -> tuple[float, list[float], int]:
        trees = workload(tasks, candidates)

        async def one(tree: list[Siblings]) -> list[Any]:
            return [await prm.score(each.task, each.path, each.candidates) for each in tree]

        async with _settings(precision, threads).open(_NoServers()) as prm:
            await prm.score(Task("warm", "up", ()), (), [Step("a", None, finished=False)])
            began = time.process_time()
            scores = [each for tree in await asyncio.gather(*map(one, trees)) for each in tree]
            seconds = time.process_time() - began
        return seconds, [value for each in scores for value in each.values], sum(each.tokens for each in scores)

    return asyncio.run(judge())


def reference(tasks: int, candidates: int, precision: str, threads: int) -> tuple[float, list[float], int]:
    """Return the same for one request at a time, with three generated tokens and no cache."""
    import torch
    from transformers import AutoModelForCausalLM

    from codetool.models.chat_template import ChatTokenizer
    from codetool.models.smollm2 import ensure_smollm2

    prm, folder = _settings(precision, threads), ensure_smollm2()
    assert isinstance(prm.prompt, PRMPrompt)
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
    chat = ChatTokenizer(folder)
    labels = [chat.tokenize(label)[0] for label in prm.labels]
    trees, scores, read = workload(tasks, candidates), list[float](), 0
    began = time.process_time()
    for each in (each for tree in trees for each in tree):
        for candidate in each.candidates:
            ids = torch.tensor([chat.encode(prm.prompt.messages(each.task, each.path, candidate))])
            with torch.inference_mode():
                answer = model.generate(
                    ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=3, max_new_tokens=3,
                    pad_token_id=0, output_logits=True, return_dict_in_generate=True,
                )  # fmt: skip
            scores.append(float(answer.logits[0][0, labels].float().softmax(-1)[0]))
            read += ids.shape[1]
    return time.process_time() - began, scores, read


def main() -> None:
    """Run both sides alternately, print the ratio and store it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--tasks", 2), ("--candidates", 4), ("--threads", 1)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--side", choices=["ours", "reference"], help="run one side and print what it came to")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("tasks", "candidates", "precision", "threads")}
    if options.side:
        print(json.dumps({"ours": ours, "reference": reference}[options.side](**sizes)))
        return
    sides: dict[str, Any] = {}
    for side in ("ours", "reference"):
        words = ["--side", side, *(word for name, value in sizes.items() for word in (f"--{name}", str(value)))]
        done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
        sides[side] = json.loads(done.stdout.splitlines()[-1])
    report(sizes, sides)


def report(sizes: dict[str, Any], sides: dict[str, Any]) -> None:
    """Print and store the figures."""
    (mine, scores, read), (theirs, expected, all_read) = sides["ours"], sides["reference"]
    figures = {
        "command": "python experiments/performance/prm_scoring.py",
        "sizes": sizes,
        "cores": os.cpu_count(),
        "scores": len(scores),
        "tokens_of_a_prompt": round(all_read / len(scores)),
        "tokens_read": {"ours": read, "reference": all_read},
        "scores_per_cpu_second": {"ours": round(len(scores) / mine, 2), "reference": round(len(scores) / theirs, 2)},
        "times_faster": round(theirs / mine, 1),
        "largest_difference_of_scores": round(max(abs(a - b) for a, b in zip(scores, expected, strict=True)), 5),
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"prm_scoring_{sizes['candidates']}_{sizes['precision']}.json"
    file.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
