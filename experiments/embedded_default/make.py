"""Make the two adapters of the embedded default from start to end, using only this repository. Hours on 2 cores.

Usage: python experiments/embedded_default/make.py [--out outputs/embedded_default] [--tiny] [--threads N]

The policy is trained on reference programs: first of the templates of train, then of more tasks, most of them of
compositions that no split has, so that it learns to write the step that comes next on a template that is new to it.
The PRM starts from the policy's adapter and is trained twice: first on right and wrong steps of reference programs,
then on rollout trees. A PRM needs mistakes to learn from, but a policy rarely makes any on templates that it was
trained on. The training trees therefore come from another policy that is trained on half of the templates and sampled
on the other half. The PRM is validated on trees of the actual policy on new tasks.

Each step is a separate command, printed before it runs. `OUT/make.json` records its wall time in seconds, seed and the
sha256 of what it made. If the program is stopped, the same command resumes it; finished steps are skipped. `--tiny`
takes a few tasks and updates, to see that every step works: its adapters are of no use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from step_record import StepRecord, Values

PROGRAMS = "experiments/task_generator"
COLLECT = (
    "run.py", "stage=collect", "benchmark.split=train", "search.n=4", "search.failures=2", "budget.executions=60",
    "concurrency=32", "policy.max_batch_size=96", "policy.prefix_cache_tokens=100000",
    "prm_prompt@collect.prompt=compact",
    "collect.keep_unsolved=false",
)  # fmt: skip
POLICY = ("run.py", "stage=train", "train.target=policy", "train.val_fraction=0", "train.max_tokens_per_batch=1500")
PRM = ("run.py", "stage=train", "prm=smollm2", "train.max_tokens_per_batch=1500")

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is generated, collected and trained."""

    trained: int
    """Tasks that the policy is trained on."""
    known: int
    """Further tasks of the same templates that the policy is trained on afterwards."""
    compositions: int
    """Tasks of other templates that the policy is trained on afterwards."""
    new: int
    """Tasks of the same templates that the policy never sees."""
    steps: int
    """Tasks whose reference programs are put beside wrong steps."""
    half_trees: int
    """Tasks that get a tree of the second policy at most."""
    policy_trees: int
    """Tasks that get a tree of the policy at most."""
    collect: tuple[str, ...] = ()
    """Further words of stage=collect."""
    train: tuple[str, ...] = ()
    """Further words of stage=train."""


WHOLE = Size(1200, 900, 1600, 2900, 600, 555, 75)
TINY = Size(
    24, 8, 8, 12, 8, 2, 2,
    collect=("search.n=2", "search.depth=2", "collect.keep_unsolved=true", "policy.max_tokens=60", "concurrency=2"),
    train=("trainer.max_steps=1", "train.max_tokens_per_batch=400"),
)  # fmt: skip


def main() -> None:
    """Run the steps that are not finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/embedded_default"), help="folder for all of it")
    parser.add_argument("--tiny", action="store_true", help="a few tasks and updates, to see that every step works")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a training; 0 = one per core")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "experiments/embedded_default/make.py", *(["--tiny"] if options.tiny else [])])
    about = {"command": command, "python": platform.python_version(), "cores": os.cpu_count()}
    try:
        size = TINY if options.tiny else WHOLE
        train = (*size.train, f"train.threads={options.threads}")
        Making(out, replace(size, train=train), StepRecord(out / "make.json", about)).run()
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command continues.")


@dataclass(frozen=True)
class Making:
    """The steps, in a folder of their own."""

    out: Path
    size: Size
    record: StepRecord

    def run(self) -> None:
        """Make policies, trees and PRMs."""
        size = self.size
        trained = self.generate("train", size.trained)
        more = self.generate("train", size.trained + size.known + size.new)
        again = Random(0).sample(more[size.trained :], size.known)
        policies = self.train_policies(trained, [*self.generate("compositions", size.compositions), *again])
        seen = {row["id"] for row in (*trained, *again)}
        tasks = {
            "policy": [row for row in more if row["id"] not in seen],
            "half": [row for row in trained if not _is_in_half(row)],
        }
        trees = {name: self.collect_trees(name, policies[name], some) for name, some in tasks.items()}
        rows = self.write("rows_steps.jsonl", Random(0).sample(trained, self.size.steps))
        steps = self.out / "steps.jsonl"
        self._make_file("steps", steps, f"{PROGRAMS}/bootstrap_process_data.py", "--rows", str(rows))
        begin = ("optimizer.lr=1e-3", f"outputs={self.out / 'first'}")
        first = self.train_prm("first PRM", steps, trees["policy"], policies["policy"], *begin)
        go_on = ("optimizer.lr=5e-4", "trainer.max_epochs=2", f"outputs={self.out}")
        last = self.train_prm("PRM", trees["half"], trees["policy"], first, *go_on)
        print(f"\npolicy.path={policies['policy']} prm.path={last}\nrecord: {self.out / 'make.json'}")

    def train_policies(self, first: Sequence[Row], later: list[Row]) -> dict[str, str]:
        """Return the adapters of the policy, trained on the first and then on the later tasks, and of that of half."""
        begun = self.train_policy("begun", first)
        Random(1).shuffle(later)
        return {
            "policy": self.train_policy("policy", later, f"tuning.init_adapter={begun}"),
            "half": self.train_policy("half", [row for row in first if _is_in_half(row)]),
        }

    def generate(self, kind: str, count: int) -> list[Row]:
        """Return the given number of tasks: `train` of the templates of train, `compositions` of others."""
        file = self.out / f"{kind}{count}.jsonl"
        words = ("-m", "codetool.benchmarks.task_generator.generate", f"--{kind}", str(count))
        self._make_file(f"{count} tasks: {kind}", file, *words)
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def train_policy(self, name: str, rows: Sequence[Row], *more: str) -> str:
        """Return the adapter of a policy trained on the programs of these tasks, with more words for its command."""
        file, texts = self.write(f"rows_{name}.jsonl", rows), self.out / f"transcripts_{name}.jsonl"
        self._make_file(f"transcripts {name}", texts, f"{PROGRAMS}/bootstrap_transcripts.py", "--rows", str(file))
        words = (*POLICY, f"outputs={self.out / name}", f"train.files=[{texts}]", *more, *self.size.train)
        return self._make_folder(f"policy {name}", words, lambda lines: _find_adapter("policy", lines))

    def collect_trees(self, name: str, policy: str, rows: Sequence[Row]) -> str:
        """Return the folder with the trees of a policy for these tasks."""
        file = self.write(f"tasks_{name}.jsonl", Random(0).sample(list(rows), len(rows)))
        limit = self.size.half_trees if name == "half" else self.size.policy_trees
        own = (f"outputs={self.out / name}", f"benchmark.train={file}", f"policy.path={policy}", f"limit={limit}")
        words = (*COLLECT, *own, *self.size.collect)
        return self._make_folder(f"trees {name}", words, _find_results, ("process.jsonl", "trees.jsonl"))

    def train_prm(self, name: str, data: Path | str, validation: str, start: str, *words: str) -> str:
        """Return the adapter of a PRM trained from another adapter."""
        files = (f"train.files=[{data}]", f"train.val_files=[{validation}]", f"tuning.init_adapter={start}")
        return self._make_folder(
            name, (*PRM, *files, *words, *self.size.train), lambda lines: _find_adapter("prm", lines)
        )

    def write(self, name: str, rows: Sequence[Row]) -> Path:
        """Write rows as JSON lines and return the file."""
        file = self.out / name
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return file

    def _make_file(self, name: str, file: Path, *words: str) -> None:
        self.record.run(name, (*words, "--out", str(file)), lambda lines: {}, lambda values: [file])

    def _make_folder(
        self, name: str, words: Sequence[str], find: Callable[[Sequence[str]], str], files: Sequence[str] = ("",)
    ) -> str:
        """Run a stage and return the folder that it names; `files` are those of it whose checksums are recorded."""

        def list_outputs(values: Values) -> list[Path]:
            return [Path(values["folder"]) / file for file in files]

        return self.record.run(name, words, lambda lines: {"folder": find(lines)}, list_outputs)["folder"]


def _is_in_half(row: Row) -> bool:
    """Return whether the template of a task belongs to the half that the second policy is trained on."""
    return int(hashlib.sha256(row["template"].encode()).hexdigest(), 16) % 2 == 0


def _find_adapter(target: str, lines: Sequence[str]) -> str:
    """Return the adapter folder that the output of a training names."""
    words = shlex.split(_find_line("use it: ", lines))
    return next(word for word in words if word.startswith(f"{target}.path=")).partition("=")[2]


def _find_results(lines: Sequence[str]) -> str:
    return _find_line("results: ", lines)


def _find_line(start: str, lines: Sequence[str]) -> str:
    """Return the text after these words in the output of a command."""
    return next(line for line in lines if line.startswith(start)).removeprefix(start).strip()


if __name__ == "__main__":
    main()
