"""Train the two adapters of the embedded default, using only this repository. Takes about three hours on 2 cores.

Usage: python experiments/embedded_default/train_adapters.py [--out outputs/embedded_default]

The policy is trained on reference programs. The PRM starts from the policy's adapter and is trained twice: first on
right and wrong steps of reference programs, then on rollout trees. A PRM needs mistakes to learn from, but a policy
rarely makes any on templates that it was trained on. The training trees therefore come from a second policy that is
trained on half of the templates and sampled on the other half. The PRM is validated on trees of the actual policy on
new tasks. Each step is a separate command, printed before it runs. If the program is stopped, the same command resumes
it; finished steps are skipped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAMS = "experiments/task_generator"
TRAINED, NEW = 1200, 400
"""Tasks that the policy is trained on, and tasks that it never sees."""
STEPS = 600
"""Tasks whose reference programs are put beside wrong steps."""
TREES = {"half": 555, "policy": 75}
"""Tasks that get a tree at most, by the policy that grows it."""
COLLECT = (
    "stage=collect", "benchmark.split=train", "search.n=4", "search.failures=2", "budget.executions=60",
    "concurrency=32", "policy.max_batch_size=96", "policy.prefix_cache_tokens=100000",
    "prm_prompt@collect.prompt=compact",
    "collect.keep_unsolved=false",
)  # fmt: skip
POLICY = ("stage=train", "train.target=policy", "train.val_fraction=0", "train.max_tokens_per_batch=1500")
PRM = ("stage=train", "prm=smollm2", "train.max_tokens_per_batch=1500")

Row = dict[str, Any]


def main() -> None:
    """Run the steps that are not finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/embedded_default"), help="folder for all of it")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    trained, more = _tasks(out, TRAINED), _tasks(out, TRAINED + NEW)
    known = {row["id"] for row in trained}
    half = [row for row in trained if _in_half(row)]
    policies = {"policy": _policy(out, "policy", trained), "half": _policy(out, "half", half)}
    tasks = {
        "policy": [row for row in more if row["id"] not in known],
        "half": [row for row in trained if not _in_half(row)],
    }
    trees = {name: _trees(out, name, policies[name], some) for name, some in tasks.items()}
    steps = out / "steps.jsonl"
    if not steps.is_file():
        rows = _written(out / "rows_steps.jsonl", Random(0).sample(trained, STEPS))
        _command(f"{PROGRAMS}/bootstrap_process_data.py", "--rows", str(rows), "--out", str(steps))
    first = _prm(out / "first", steps, trees["policy"], policies["policy"], "optimizer.lr=1e-3")
    last = _prm(out, trees["half"], trees["policy"], first, "optimizer.lr=5e-4", "trainer.max_epochs=2")
    print(f"\npolicy.path={policies['policy']} prm.path={last}")


def _trees(out: Path, name: str, policy: str, rows: Sequence[Row]) -> str:
    """Return the folder with the trees of a policy for these tasks; collect them if they are missing."""
    file = _written(out / f"tasks_{name}.jsonl", Random(0).sample(list(rows), len(rows)))
    words = (f"benchmark.train={file}", f"policy.path={policy}", f"limit={TREES[name]}")
    return _said("results: ", _run(f"outputs={out / name}", *COLLECT, *words))


def _prm(out: Path, data: Path | str, validation: str, start: str, *words: str) -> str:
    """Return the adapter of a PRM trained from another adapter."""
    files = (f"train.files=[{data}]", f"train.val_files=[{validation}]", f"tuning.init_adapter={start}")
    return _used("prm", _run(f"outputs={out}", *PRM, *files, *words))


def _tasks(out: Path, count: int) -> list[Row]:
    """Return the given number of train tasks."""
    file = out / f"train{count}.jsonl"
    if not file.is_file():
        _command("-m", "codetool.benchmarks.task_generator.generate", "--train", str(count), "--out", str(file))
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _in_half(row: Row) -> bool:
    """Return whether the template of a task belongs to the half that the second policy is trained on."""
    return int(hashlib.sha256(row["template"].encode()).hexdigest(), 16) % 2 == 0


def _policy(out: Path, name: str, rows: Sequence[Row]) -> str:
    """Return the adapter of a policy trained on the programs of these tasks."""
    texts = out / f"transcripts_{name}.jsonl"
    if not texts.is_file():
        file = _written(out / f"rows_{name}.jsonl", rows)
        _command(f"{PROGRAMS}/bootstrap_transcripts.py", "--rows", str(file), "--out", str(texts))
    return _used("policy", _run(f"outputs={out / name}", *POLICY, f"train.files=[{texts}]"))


def _used(target: str, lines: Sequence[str]) -> str:
    """Return the adapter folder that the output of a training names."""
    words = shlex.split(_said("use it: ", lines))
    return next(word for word in words if word.startswith(f"{target}.path=")).partition("=")[2]


def _written(file: Path, rows: Sequence[Row]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def _said(start: str, lines: Sequence[str]) -> str:
    """Return the text after these words in the output of a command."""
    return next(line for line in lines if line.startswith(start)).removeprefix(start).strip()


def _run(*words: str) -> list[str]:
    return _command("run.py", *words)


def _command(*words: str) -> list[str]:
    """Run a command, show its output and return the lines. If it fails, exit with its exit code."""
    print(f"\n{shlex.join(['python', *words])}", flush=True)
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(process.returncode)
    return lines


if __name__ == "__main__":
    main()
