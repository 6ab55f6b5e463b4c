"""Benchmark: time to write `report.html` of a run and to open it in headless Chromium, by number of tasks.

The trees have the size of `search=beam search.width=2 search.n=4 search.depth=5`: 30 steps per task, each with 1 KB of
code and 1.5 KB of observation. Programs come from `tmdb_verified`, observations are generated.

    python experiments/performance/report.py
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdp_browser import browser

from codetool.benchmarks.tmdb_verified import SPLITS, load_all_rows
from codetool.config.compose_run import compose_run
from codetool.evaluation.html_report import ReportContext, render_page
from codetool.evaluation.summary import RunSummary, summarize_results
from codetool.prm.generative import GenerativePRM
from codetool.runs import journal
from codetool.stages.report_prompts import RunPrompts

RESULTS = Path(__file__).parent / "results"
KINDS = ("wrong_answer", "wrong_argument", "wrong_tool", "exception:KeyError", "no_code", "unfinished")
STEPS = 30
CODE, OBSERVATION = 1000, 1500  # characters
STEPWISE = ("policy=openai", "policy.model=m", "policy.base_url=http://h/v1", "prm=qwen7b")
"""A policy and a PRM with the prompt `stepwise`, the longest."""


def main() -> None:
    """Print and store the figures."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tasks", type=int, nargs="+", default=[1000, 10_000])
    arguments.add_argument("--keep", type=Path, help="folder in which the reports are left")
    arguments.add_argument("--out", type=Path, default=RESULTS / "report.json")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "command": "python experiments/performance/report.py",
            "tree": {"steps": STEPS, "code_characters": CODE, "observation_characters": OBSERVATION},
            "by_tasks": [measured(count, options.keep or Path(folder)) for count in options.tasks],
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


def measured(count: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one report with the given number of tasks; opening is the median of five times."""
    file, journals = folder / f"report-{count}.html", folder / f"trees-{count}.jsonl"
    draw = random.Random(0)
    lines = [result(place, draw) for place in range(count)]
    with journals.open("wb") as out:
        out.writelines(journal.encode_record(tree(line, draw)) for line in lines)
    summary = summarize_results(lines, count, seed=0)
    began = time.perf_counter()
    journal.atomic_write(file, render_page(ABOUT, summary, lines, journal.read_records(journals), {}))
    seconds = time.perf_counter() - began
    opened = sorted(open_seconds(file) for _ in range(5))
    megabytes = file.stat().st_size / 1e6
    with_prompts = measure_prompts(summary, lines, journals, file)
    figures = {
        "tasks": count,
        "trees_megabytes": round(journals.stat().st_size / 1e6, 1),
        "write_s": round(seconds, 2),
        "writer_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "report_megabytes": round(megabytes, 1),
        "open_s": round(opened[2][0], 2),
        "open_worst_s": round(opened[-1][0], 2),
        "tree_s": round(opened[2][1], 3),
        "filter_s": round(opened[2][2], 3),
        **with_prompts,
    }
    journals.unlink()
    return figures


def measure_prompts(
    summary: RunSummary, lines: Sequence[Mapping[str, Any]], journals: Path, file: Path
) -> dict[str, float]:
    """Return how long the same report takes, and how large it is, with the prompts of every step."""
    configs = [compose_run(f"benchmark.split={split}", *STEPWISE) for split in SPLITS]
    by_query = {task.query: task for config in configs for task in config.benchmark.tasks()}
    tasks = {line["task_id"]: replace(by_query[line["query"]], id=line["task_id"]) for line in lines}
    prm = configs[0].prm
    assert isinstance(prm, GenerativePRM)
    prompts = RunPrompts(configs[0].policy.prompt, prm.prompt, False, {})
    began = time.perf_counter()
    journal.atomic_write(file, render_page(ABOUT, summary, lines, journal.read_records(journals), tasks, prompts))
    seconds = time.perf_counter() - began
    return {
        "write_with_prompts_s": round(seconds, 2),
        "report_with_prompts_megabytes": round(file.stat().st_size / 1e6, 1),
    }


ABOUT = ReportContext(
    name="measurement", written="now", config="", settings={}, made_from={}, sandbox_layers=(),
)  # fmt: skip


def open_seconds(file: Path) -> tuple[float, float, float]:
    """Return the seconds from navigation until the table is shown, a tree is shown, and a filter is applied."""
    with browser() as page:
        page.look(1280, 900)
        page.open(file.as_uri())
        ready = int(page.wait("document.documentElement.dataset.ready")) / 1000
        tree = page.js(
            "(async () => { const began = performance.now(); document.querySelector('#tasks a').click();"
            " while (!document.querySelector('[role=treeitem]')) await new Promise(requestAnimationFrame);"
            " return performance.now() - began; })()"
        )
        page.js("location.hash = '#'")
        filtered = page.js(
            "(() => { const began = performance.now(); byId('f-text').value = 'director';"
            " byId('filter').dispatchEvent(new Event('input')); document.body.offsetHeight;"
            " return performance.now() - began; })()"
        )
    return ready, tree / 1000, filtered / 1000


def result(place: int, draw: random.Random) -> dict[str, Any]:
    """Return the result line of a solved or unsolved task."""
    row = draw.choice(ROWS)
    solved = draw.random() < 0.6
    return {
        "task_id": f"{row['id']}-{place}",
        "query": row["query"],
        "answer": str(row["answer"]["value"]),
        "success": solved,
        "finished": True,
        "stopped_by": None,
        "path": ["1", "1-1", "1-1-1", "1-1-1-1", "1-1-1-1-1"],
        "metrics": {"success": solved, "scep": 1.0, "tokens_out": draw.randrange(4000), "seconds": draw.random()},
        "ledger": {
            "tokens_in": 9000, "tokens_out": 3000, "prm_tokens": 0, "executions": 30, "tool_calls": 40, "usd": None,
        },
        "error": None if solved else {"kind": draw.choice(KINDS), "message": f"step 5: {words(draw, 100)}"},
        "seconds": 20 * draw.random(),
    }  # fmt: skip


def tree(line: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return a beam search tree: four steps at depth 1, then eight at each depth below two of them."""
    return {"task_id": line["task_id"], "nodes": [node(name, draw) for name in list(names())[:STEPS]]}


def names() -> Iterator[str]:
    """Return the node ids, including those of the chosen path."""
    kept = [""]
    for _ in range(5):
        children = [f"{name}-{k}".lstrip("-") for name in kept for k in range(1, 5)]
        yield from children
        kept = [children[0], children[-1]]


def node(name: str, draw: random.Random) -> dict[str, Any]:
    """Return a step with a unique program and observation."""
    program = "\n".join(draw.choice(ROWS)["program"])
    code = f"{program}\n# {words(draw, CODE)}"[:CODE]
    call = {
        "method": "GET", "url": "https://api.themoviedb.org/3/search/movie", "arguments": {"query": words(draw, 12)},
        "http_status": 200, "provenance": "replica", "effect": "read", "seconds": 0.001,
    }  # fmt: skip
    depth = name.count("-") + 1
    return {
        "id": name,
        "parent": name.rpartition("-")[0] or "0",
        "depth": depth,
        "text": f"##Step {depth}: {words(draw, 60)}\nPython Code:\n```python\n{code}\n```",
        "code": code,
        "execution": {
            "status": "ok", "observation": words(draw, OBSERVATION), "error": None, "seconds": 0.01, "calls": [call],
        },
        "spot": 1.0, "latent": draw.random(), "cumulative": depth * 1.5, "multiplicity": 1, "finished": depth == 5,
    }  # fmt: skip


ROWS = load_all_rows()
WORDS = sorted({word for row in ROWS for word in row["query"].split()})


def words(draw: random.Random, characters: int) -> str:
    """Return text like a printed answer: words and numbers."""
    text = ""
    while len(text) < characters:
        text += f"{draw.choice(WORDS)} {draw.randrange(100_000)} " if draw.random() < 0.3 else f"{draw.choice(WORDS)} "
    return text[:characters]


if __name__ == "__main__":
    main()
