"""Benchmark: our PRM server against one built like the reference's, on the siblings of recorded search trees.

Usage: python experiments/performance/prm_server.py [--trees notebooks/recorded/trees.jsonl] [--limit 4] [--rounds 3]
           [--precision bfloat16] [--threads 1]

Both servers run SmolLM2-135M and get the same requests from the client `prm=remote`, which replays the trees in the
order of a search: all trees in parallel, in each tree one depth after the other, all siblings of a depth together. The
reference-like server handles one request at a time, reads each prompt from its first token, generates three tokens, and
caches nothing; its score is the softmax of the two labels at the first generated token, so that scores can be compared.
Our server is restarted for every round, so that its cache is empty too. The sides alternate. Reported are wall seconds
and the CPU seconds of the server process; on one thread the latter do not depend on the load of the machine. The
rounding error in bfloat16 is reported as the distance of each side's scores from those in float32.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fastapi import FastAPI, Request

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.interfaces import PRMOption, ProcessRewardModel
from codetool.model_types import ServedModel, Weights
from codetool.prm.generative import GenerativePRM
from codetool.runs import journal
from codetool.types import Execution, Node, Step, Task

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
RECORDED = ROOT / "notebooks" / "recorded" / "trees.jsonl"
WARM_UP = (Task("warm", "up", ()), (), [Step("a", None, finished=False)])


@dataclass(frozen=True)
class Siblings:
    """Candidates after a path."""

    task: Task
    path: Sequence[Node]
    candidates: Sequence[Step]


@dataclass(frozen=True)
class Round:
    """Figures of one round of one side."""

    seconds: float
    cpu: float
    scores: list[float]
    tokens: int


def trees(file: Path, limit: int) -> list[list[Siblings]]:
    """Return the groups of siblings by depth for each tree. Raises KeyError for a tree of another benchmark."""
    known = {
        task.id: task
        for split in ("dev", "train", "test")
        for task in validate(compose_all([f"benchmark.split={split}"])[0]).benchmark.tasks()
    }
    lines = itertools.islice(journal.read_records(file), limit)
    return [list(_groups(known[line["task_id"]], line["nodes"])) for line in lines]


def _groups(task: Task, lines: Sequence[Mapping[str, Any]]) -> Iterator[Siblings]:
    nodes = {"0": Node(id="0")}
    for line in lines:
        ran = {name: line["execution"][name] for name in ("status", "observation", "error")}
        step = Step(line["text"], line["code"], line["finished"])
        parent = nodes[line["parent"]]
        nodes[line["id"]] = Node(line["id"], parent, depth=line["depth"], step=step, execution=Execution(**ran))
    ordered = sorted(lines, key=lambda line: (line["depth"], line["parent"]))
    for parent_id, members in itertools.groupby(ordered, key=lambda line: line["parent"]):
        steps = [found for line in members if (found := nodes[line["id"]].step)]
        yield Siblings(task, nodes[parent_id].path, steps)


async def replay(prm: ProcessRewardModel, work: Sequence[Sequence[Siblings]]) -> tuple[list[float], int]:
    """Return all scores in the order of the trees, and the number of tokens that the server has read."""

    async def one(tree: Sequence[Siblings]) -> list[Any]:
        found = []
        for _, groups in itertools.groupby(tree, key=lambda group: len(group.path)):
            found += await asyncio.gather(*(prm.score(each.task, each.path, each.candidates) for each in groups))
        return found

    scores = [each for tree in await asyncio.gather(*map(one, work)) for each in tree]
    return [value for each in scores for value in each.values], sum(each.tokens for each in scores)


class _NoServers:
    async def serve(self, weights: Weights) -> ServedModel:
        raise AssertionError("a remote PRM asks for no server")


def measured(process: psutil.Process, url: str, work: Sequence[Sequence[Siblings]]) -> Round:
    """Return the figures of one replay against a running server."""
    prm = validate(compose_all(["prm=remote", "prm.model=smollm2", f"prm.base_url={url}", "prm.timeout=600"])[0]).prm
    assert isinstance(prm, PRMOption)

    async def timed() -> Round:
        async with prm.open(_NoServers()) as live:
            assert live is not None
            await live.score(*WARM_UP)
            wall, cpu = time.perf_counter(), _cpu(process)
            scores, tokens = await replay(live, work)
            return Round(time.perf_counter() - wall, _cpu(process) - cpu, scores, tokens)

    return asyncio.run(timed())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[psutil.Process, str]]:
    """Run a server; yield its process and its address, which is the first word that it prints."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            words = server.stdout.readline().split()
            if not words:
                raise SystemExit(f"{' '.join(command)}: has ended without an address")
            yield psutil.Process(server.pid), words[0]
        finally:
            server.terminate()


def settings(precision: str, threads: int) -> list[str]:
    """Return the options of the PRM on both sides."""
    return ["prm=smollm2", "prm.path=null", f"prm.precision={precision}", f"prm.threads={threads}"]


def serve_as_the_reference_does(precision: str, threads: int) -> None:
    """Serve until stopped: one request at a time, three generated tokens, no cache."""
    import socket

    import torch
    import uvicorn
    from transformers import AutoModelForCausalLM

    from codetool.models.chat_template import ChatTokenizer
    from codetool.models.smollm2 import ensure_smollm2

    prm, folder = validate(compose_all(settings(precision, threads))[0]).prm, ensure_smollm2()
    assert isinstance(prm, GenerativePRM)
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision)).eval()
    chat = ChatTokenizer(folder)
    labels = [chat.tokenize(label)[0] for label in prm.labels]
    app = FastAPI()

    @app.post("/generate")
    async def generate(request: Request) -> dict[str, float]:
        ids = torch.tensor([chat.encode((await request.json())["messages"])])
        with torch.inference_mode():  # on the event loop: until it is done, nobody else is served
            answer = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=3, max_new_tokens=3,
                pad_token_id=0, output_logits=True, return_dict_in_generate=True,
            )  # fmt: skip
        return {"response": float(answer.logits[0][0, labels].float().softmax(-1)[0])}

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off")).run([listener])


def compare(file: Path, limit: int, rounds: int, precision: str, threads: int) -> dict[str, list[Round]]:
    """Return the figures of both sides in every round, and of ours once in float32."""
    work = trees(file, limit)
    sizes = [f"--precision={precision}", f"--threads={threads}"]
    stage = [sys.executable, "run.py", "stage=serve_prm", "serve_prm.port=0"]
    ours = [*stage, *settings(precision, threads)]
    found: dict[str, list[Round]] = {"ours": [], "reference": []}
    with running([sys.executable, __file__, "--serve", *sizes]) as reference:
        for place in range(rounds):
            with running(ours) as mine:
                sides = [("ours", mine), ("reference", reference)]
                for side, server in sides if place % 2 == 0 else sides[::-1]:
                    found[side].append(measured(*server, work))
    with running([*stage, *settings("float32", threads)]) as exact:
        found["float32"] = [measured(*exact, work)]
    return found


def figures(found: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Return the medians over the rounds and the distances between the scores."""
    count, sides = len(found["ours"][0].scores), ("ours", "reference")
    wall = {side: statistics.median(each.seconds for each in found[side]) for side in sides}
    cpu = {side: statistics.median(each.cpu for each in found[side]) for side in sides}
    exact = found["float32"][0].scores
    return {
        "scores": count,
        "tokens_read_by_ours": found["ours"][0].tokens,
        "scores_per_second": {side: round(count / seconds, 2) for side, seconds in wall.items()},
        "scores_per_cpu_second": {side: round(count / seconds, 2) for side, seconds in cpu.items()},
        "times_faster": round(wall["reference"] / wall["ours"], 1),
        "times_less_cpu": round(cpu["reference"] / cpu["ours"], 1),
        "times_less_cpu_in_each_round": [
            round(b.cpu / a.cpu, 1) for a, b in zip(found["ours"], found["reference"], strict=True)
        ],
        "difference_of_scores": {
            "between_the_two": _apart(found["ours"][0].scores, found["reference"][0].scores),
            "ours_from_float32": _apart(found["ours"][0].scores, exact),
            "reference_from_float32": _apart(found["reference"][0].scores, exact),
        },
    }


def _apart(some: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    differences = [abs(a - b) for a, b in zip(some, others, strict=True)]
    return {"largest": round(max(differences), 5), "median": round(statistics.median(differences), 5)}


def main() -> None:
    """Compare the two servers, print the ratio and store it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=Path, default=RECORDED, help="trees.jsonl or rollouts.jsonl of tmdb_verified")
    parser.add_argument("--limit", type=int, default=4, help="trees that are replayed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--serve", action="store_true", help="be the other server")
    options = parser.parse_args()
    if options.serve:
        serve_as_the_reference_does(options.precision, options.threads)
        return
    found = compare(options.trees, options.limit, options.rounds, options.precision, options.threads)
    kept = {
        "command": f"python experiments/performance/prm_server.py --precision {options.precision}",
        "trees": options.trees.name,
        "sizes": {name: getattr(options, name) for name in ("limit", "rounds", "precision", "threads")},
        "cores": os.cpu_count(),
        **figures(found),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"prm_server_{options.precision}.json").write_text(json.dumps(kept, indent=2) + "\n")
    print(json.dumps(kept, indent=2))


if __name__ == "__main__":
    main()
