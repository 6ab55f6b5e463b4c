"""Write the results table of README.md from the result files below `experiments/`.

Usage: python experiments/readme_table.py [--check]. With --check nothing is written, and the exit code is 1 if the
table in README.md differs from the files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RENAMED = {
    "experiments/embedded_ablation/ablation.py": "experiments/studies/run_study.py embedded_ablation",
    "experiments/performance/mock_stack.py": "experiments/performance/latency.py",
    "experiments/reference_programs/damaged_programs.py": "experiments/task_generator/checker_mutation_test.py",
}
"""Scripts that were renamed after they wrote a result file, whose recorded command keeps the old name."""
BEGIN, END = "<!-- results: experiments/readme_table.py -->", "<!-- end of results -->"


def main() -> None:
    """Rewrite or check the part of the README between the two markers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, tell by the exit code")
    check = parser.parse_args().check
    old = README.read_text(encoding="utf-8")
    new = updated(old)
    if check:
        sys.exit(new != old)
    README.write_text(new, encoding="utf-8")


def updated(readme: str) -> str:
    """Return the README with new tables."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return "\n".join([before + BEGIN, *table(), END + after])


def table() -> Iterator[str]:
    """Return the lines of the table."""
    yield "| what | result | target | made by |"
    yield "| --- | --- | --- | --- |"
    stack = _read("experiments/performance/results/latency.json")
    speed = f"{stack['first_to_last_call_s']} s, {stack['llm_in_flight_max']} LLM requests in flight"
    reference = f"the reference's code: {stack['reference_s']:.0f} s (quoted, not run here)"
    yield _row("RestBench-TMDB, 100 tasks, greedy n = 2, fixed latencies", f"{speed}; {reference}", "≤ 10 s", stack)
    yield _growth()
    inside = _read("experiments/performance/results/interpreter.json")
    figures = inside["figures"]
    late = figures["kill_after_limit_ms"]
    fast = f"{figures['branch_ms']['median']:.1f} ms, {figures['trivial_step_ms']['median']:.1f} ms"
    gone = f"{late['median']:.1f} ms (at most {late['max']:.1f}), {figures['pss_mb'] / 1000:.1f} GB"
    what = "branch of a live interpreter, trivial step, end of a hanging step after its limit, 1,000 live branches"
    faster = f"{figures['times_faster']} times as fast as a fresh interpreter per step"
    yield _row(what, f"{fast}, {gone}; {faster}", "≤ 4, 2, 100 ms, 3 GB", inside)
    replica = _read("experiments/performance/results/replica.json")
    slowest = f"slowest of {replica['operations']} operations {replica['slowest']['per_s']:,}"
    answered = f"{replica['mix_per_s']:,} requests a second, {slowest}; {replica['mix_warm_per_s']:,} with warm caches"
    yield _row("TMDB replica in process, one core", answered, f"≥ {replica['target_per_s']:,}", replica)
    yield from _programs()
    report = _read("experiments/performance/results/report.json")
    opens = report["by_tasks"][0]
    yield _row(f"`report.html` of {opens['tasks']:,} tasks opens in Chromium", f"{opens['open_s']} s", "≤ 2 s", report)
    judged = _read("experiments/performance/results/prm_scoring_4_bfloat16.json")
    times = f"{judged['times_faster']} times as many scores a CPU second"
    yield _row("PRM scores of 4 siblings in process, against the reference's way", times, "≥ 5", judged)
    served = _read("experiments/performance/results/prm_server_bfloat16.json")
    times = f"{served['times_faster']} times as many scores a second, {served['times_less_cpu']} times a CPU second"
    yield _row("`stage=serve_prm` against a server built like the reference's", times, "≥ 5", served)
    yield _training()
    yield _replicas()
    yield _cache()
    yield _embedded_default()
    written = _read("experiments/performance/results/generation.json")
    first, later = written["times_faster"]
    faster = f"{first} times faster for a first step, {later} times for the step after it"
    yield _row("embedded SmolLM2, 6 prompts × 2 candidates, against transformers' `generate`", faster, "", written)
    tour = _read("experiments/embedded_default/results/tour.json")
    success = tour["metrics"]["success"]
    value = f"{100 * success['value']:.0f} % ({100 * success['low']:.0f} … {100 * success['high']:.0f} %)"
    yield _row("success of the embedded policy and PRM on the six tasks of the tour, beam 2 × 2", value, "", tour)
    yield _ablation()
    yield _scale()


def _growth() -> str:
    """Return the row of runs of many tasks and of the growth of their costs."""
    found = _read("experiments/performance/results/concurrency.json")
    times = ", ".join(f"{run['tasks']:,} tasks {run['times_critical_path']} ×" for run in found["runs"])
    cost = f"{found['runs'][-1]['host_cpu_ms_per_step']} ms of the host's CPU a step"
    grown = _read("experiments/performance/results/growth.json")
    powers = ", ".join(f"{axis} {each['exponent']:.1f}" for axis, each in grown["axes"].items())
    what = "wall time of tasks that start together, times the critical path of one of them"
    said = f"{times}; {cost}; CPU time grows with the power (`growth.py`): {powers}"
    return _row(what, said, "≤ 1.5, 2 ×; 3 ms; 1", found)


def _embedded_default() -> str:
    """Return the row of the default run against an older commit."""
    found = _read("experiments/performance/results/embedded_default.json")
    ratios = ", ".join(f"{side['new_to_old']['wall_s']} in {name}" for name, side in found["sides"].items())
    slowest = max(each["to_one_thread"] for each in found["combinations"])
    what = f"wall time of `python run.py`, times that of {found['commit']}, equal candidates"
    said = f"{ratios}; more threads or cells, times one thread for each model: at most {slowest}"
    return _row(what, said, "≤ 0.5; ≤ 1", found)


def _ablation() -> str:
    """Return the row of the ablation on test or on dev."""
    folder = ROOT / "experiments/studies/embedded_ablation/results"
    names = ("test.json", "dev.json")
    file = next(folder / name for name in names if (folder / name).is_file())
    found = _read(str(file.relative_to(ROOT)))
    cells = {name: cell["success"]["all"] for name, cell in found["cells"].items()}
    successes = ", ".join(f"{name.replace('_', ' ')} {100 * cell['value']:.1f} %" for name, cell in cells.items())
    gained = next(
        each["success"]["all"]
        for each in found["differences"]
        if (each["first"], each["second"]) == ("full", "without_latent")
    )
    low, high = (f"{100 * bound:+.1f}" for bound in gained["interval"])
    said = f"{successes}; full − without latent {100 * gained['value']:+.1f} points ({low} … {high})"
    tasks = f"{cells['full']['tasks']} {found['split']} tasks"
    return _row(f"success of the embedded policy and PRM on the {tasks}, n = 4", said, "≥ +5", found)


def _training() -> str:
    """Return the row that compares tree-packed batches with the faster TRL variant, in labelled steps."""
    found = _read("experiments/performance/results/tree_training.json")
    rates = {
        name: max(side["labelled_steps_per_cpu_second"] for side in sides) for name, sides in found["sides"].items()
    }
    others = max(rate for name, rate in rates.items() if name.startswith("trl"))
    said = f"{rates['tree'] / others:.0f} times as many labelled steps a CPU second"
    return _row("LoRA training of SmolLM2 on rollout trees, against TRL's SFTTrainer", said, "≥ 5", found)


def _replicas() -> str:
    """Return the row of prompt tokens that several servers find in their caches."""
    found = _read("experiments/performance/results/replicas.json")
    rates = {way: 100 * figures["hit_rate"] for way, figures in found["ways"].items()}
    said = f"{rates['sticky']:.0f} % if a task stays with one server, {rates['round_robin']:.0f} % in turn"
    return _row(f"prompt tokens in the caches of {found['sizes']['replicas']} vLLM servers", said, "", found)


def _scale() -> str:
    """Return the row of the simulator of runs."""
    found = _read("experiments/scale/results/validation.json")
    said = f"at most {100 * found['largest_error']:.0f} % off the measured time"
    return _row("simulated wall time of small runs, 1, 2 and 4 tasks at a time", said, "≤ 15 %", found)


def _cache() -> str:
    found = _read("experiments/performance/results/toolbench_cache.json")
    memory = f"{found['memory_mb'][-1]} MB after {found['calls']:,} calls over {found['files_read']:,} files"
    said = f"{max(found['start_s'])} s until the first answer; {memory}"
    return _row(f"StableToolBench's server over {found['answers']:,} recorded answers", said, "≤ 2 s, flat", found)


def _programs() -> Iterator[str]:
    """Return the rows of the reference programs of the benchmarks, intact and damaged."""
    folder = "experiments/task_generator/results"
    names = ("tmdb", *(f"tmdb_verified_{split}" for split in ("train", "dev", "test")))
    files = [_read(f"{folder}/{name}.json") for name in names]
    right, whole = (sum(file["whole"][key] for file in files) for key in ("right", "programs"))
    damaged = ", ".join(f"{100 * file['damaged']['share']:.1f} %" for file in files)
    said = f"{right:,} of {whole:,} right; one step damaged: {damaged}"
    what = "reference programs of `tmdb` and the splits of `tmdb_verified`, through sandbox and broker"
    yield _row(what, said, "all; < 2 %", files[-1])


def _row(what: str, result: str, target: str, made: dict[str, Any]) -> str:
    command = made["command"]
    for old, new in RENAMED.items():
        command = command.replace(old, new)
    return f"| {what} | {result} | {target or '–'} | `{command}` |"


def _read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / path).read_text(encoding="utf-8"))
    return content


if __name__ == "__main__":
    main()
