"""Reproduce the paper's StableToolBench table: six groups of queries × methods, with intervals, votes and cost.

Usage: python experiments/stabletoolbench_table/paper_table.py [--methods codetool,react] [--limit N] [--outputs DIR]
           [--results FILE] policy=… prm=… judge=… [further options of run.py, for every method]

    policy=openai policy.model=NAME policy.base_url=URL  prm=qwen7b prm.path=FOLDER  judge=codetool judge.model=NAME

Every method is one run `python run.py benchmark=stabletoolbench_paper …` over all groups. If the program is stopped,
the same command resumes it. A method that fails is named at the end and does not stop the others. Options that start
with `prm.` go only to methods with a PRM. `benchmark.queries=FILE` replaces the 580 queries.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from methods import METHODS, Method

from codetool.evaluation.judged_results import get_metric_by_task, load_result_lines
from codetool.evaluation.paired_comparison import compute_differences, estimate_mean
from codetool.runs import journal
from codetool.stages.report import read_checksums, read_settings

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
BENCHMARK = "benchmark=stabletoolbench_paper"
COSTS = ("scep", "tokens_in", "tokens_out", "prm_tokens", "tool_calls", "seconds", "usd")
FIRST = "codetool"
"""What the others are compared with."""
INTERRUPTED = 130


def main() -> None:
    """Run the unfinished methods and write the table. Exits with 1 if a method failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options()
    chosen = [method for method in METHODS if method.name in options.methods.split(",")]
    folders: dict[str, Path] = {}
    failed = []
    try:
        for method in chosen:
            words = _words(method, options)
            code, folder = _run(method, words)
            if code:
                failed.append(method.name)
            if folder is not None and (folder / "metrics.json").is_file():
                folders[method.name] = folder
            _write(options, folders)
    except KeyboardInterrupt:
        sys.exit("Stopped. What is finished is kept; the same command continues.")
    print(options.results.with_suffix(".md").read_text(encoding="utf-8") if folders else "nothing to show")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the reasons stand above. The same command tries them again.")


def _run(method: Method, words: Sequence[str]) -> tuple[int, Path | None]:
    """Run a method and return its exit code and the folder of its results."""
    print(f"\n{method.name}", file=sys.stderr, flush=True)
    folder = None
    with subprocess.Popen([sys.executable, "run.py", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                print(line, end="", file=sys.stderr, flush=True)
                if line.startswith("results: "):
                    folder = ROOT / line.removeprefix("results: ").strip()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    return process.returncode, folder


def _words(method: Method, options: argparse.Namespace) -> list[str]:
    judged = any(word.startswith("experiment=") for word in method.words)
    given = [word for word in options.words if not (judged and word.startswith(("prm=", "prm.")))]
    limit = [f"limit={options.limit}"] if options.limit else []
    return [BENCHMARK, *method.words, *given, *limit, f"outputs={options.outputs}"]


def _write(options: argparse.Namespace, folders: Mapping[str, Path]) -> None:
    """Write the available results as JSON with the tables next to it."""
    content = {
        "command": options.command or _command(options),
        "date": date.today().isoformat(),
        "methods": {name: _method(folder) for name, folder in folders.items()},
        "differences": list(_differences(folders)),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    journal.atomic_write(options.results, [json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"])
    journal.atomic_write(options.results.with_suffix(".md"), ["\n".join([*_markdown(content), ""]).encode()])


def _command(options: argparse.Namespace) -> str:
    """Return the command without folder and server names of this machine."""
    words = [word for word in options.words if "base_url" not in word and "path=" not in word]
    limit = ["--limit", str(options.limit)] if options.limit else []
    return shlex.join(["python", "experiments/stabletoolbench_table/paper_table.py", *limit, *words])


def _method(folder: Path) -> dict[str, Any]:
    """Return the results of a run with its settings and checksums."""
    content = json.loads((folder / "metrics.json").read_text())
    settings = read_settings(folder)
    made = {name: value for name, value in read_checksums(folder).items() if "sha256" in name or name == "codetool"}
    return {
        "folder": folder.name,
        "seed": settings["seed"],
        "made_from": made,
        "asked": content["tasks"]["asked"],
        "sopr": content["metrics"].get("sopr"),
        "judge": content.get("judge"),
        "groups": {
            name: {"asked": each["asked"], "sopr": each["metrics"].get("sopr")}
            for name, each in content.get("groups", {}).items()
        },
        "costs": {name: content["metrics"][name] for name in COSTS if name in content["metrics"]},
    }


def _differences(folders: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Return the difference in SoPR to each other method over common tasks, in points with 95 % intervals."""
    if FIRST not in folders:
        return
    scores = {name: get_metric_by_task(list(load_result_lines(folder)), "sopr") for name, folder in folders.items()}
    for name in folders:
        found = estimate_mean(compute_differences([(scores[FIRST], scores[name])]), {}) if name != FIRST else None
        if found is not None:
            yield {
                "first": FIRST,
                "second": name,
                "value": found.value,
                "interval": found.interval,
                "tasks": found.tasks,
            }


def _markdown(content: Mapping[str, Any]) -> Iterator[str]:
    methods = content["methods"]
    groups = list(dict.fromkeys(name for each in methods.values() for name in each["groups"]))
    titles = {method.name: method.title for method in METHODS}
    yield _line("SoPR, %", *groups, "all", "± votes")
    yield _line(*["---"] * (len(groups) + 3))
    for name, each in methods.items():
        cells = [_rate(each["groups"].get(group, {}).get("sopr")) for group in groups]
        deviation = each["sopr"] and each["sopr"].get("vote_deviation")
        spread = "–" if deviation is None else f"{100 * deviation:.1f}"
        yield _line(titles[name], *cells, _rate(each["sopr"]), spread)
    yield ""
    yield _line("a query", "SCEP, %", "tokens in", "tokens out", "PRM tokens", "tool calls", "s", "USD")
    yield _line(*["---"] * 8)
    for name, each in methods.items():
        costs = each["costs"]
        amounts = [_amount(costs.get(cost)) for cost in COSTS[1:]]
        yield _line(titles[name], _rate(costs.get("scep")), *amounts)
    if content["differences"]:
        yield ""
        yield "| SoPR, points | difference |"
        yield "| --- | --- |"
    for each in content["differences"]:
        low, high = each["interval"] or (None, None)
        bounds = f" ({100 * low:+.1f} … {100 * high:+.1f})" if low is not None and high is not None else ""
        yield f"| {titles[FIRST]} − {titles[each['second']]} | {100 * each['value']:+.1f}{bounds} |"
    yield ""
    yield (
        "Means over all queries asked for with 95 % intervals of 10,000 draws of queries; ± is the standard deviation "
        "of the mean over the rounds of votes; differences are paired by query."
    )
    asked = {name: each["asked"] for name, each in methods.items()}
    if len(set(asked.values())) > 1:
        yield f"Queries asked for: {', '.join(f'{name} {count}' for name, count in asked.items())}."


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "–"
    bounds = "" if metric["low"] is None else f" ({100 * metric['low']:.1f} … {100 * metric['high']:.1f})"
    return f"{100 * metric['value']:.1f}{bounds}"


def _amount(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "–"
    return f"{metric['value']:,.0f}" if metric["value"] >= 100 else f"{metric['value']:.2g}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [method.name for method in METHODS]
    parser.add_argument("--methods", default=",".join(names), help=f"some of {','.join(names)}; all if left out")
    parser.add_argument("--limit", type=int, help="the first so many queries: a trial")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/stabletoolbench_table"), help="folder of the runs"
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "table.json", help="JSON file of the results")
    parser.add_argument("--command", help="what the result file names as the command that made it")
    parser.add_argument("words", nargs="*", help="options of run.py: policy, PRM and judge")
    options = parser.parse_intermixed_args()
    if unknown := {*options.methods.split(",")} - {*names}:
        parser.error(f"--methods {','.join(sorted(unknown))}: no such method. There are: {', '.join(names)}")
    options.outputs = options.outputs.resolve()
    return options


if __name__ == "__main__":
    main()
