"""Ablation of the embedded default: run every cell of `cells.py` and write the table of `table.py`.

Usage: python experiments/embedded_ablation/ablation.py [--split dev] [--seeds 0,1] [--limit N] [--outputs DIR] …

If the program is stopped, the same command resumes it. Cells with the same seed share their candidates. Run times are
measured separately, on a few tasks, without sharing.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from cells import CELLS, CellRun, Plan, runs
from result import result, seconds
from table import markdown

from codetool.config.override_errors import get_key
from codetool.errors import CodeToolError
from codetool.runs import journal

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
MOST_TIMED = 200
"""Tasks that every split has, and that `run.py` starts at once."""
SEEDS = (0, 1)
INTERRUPTED = 130


def main() -> None:
    """Run the unfinished cells and write the table. Exits with 1 if a cell failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options()
    plan = _plan(options)
    try:
        planned, timed = runs(plan), _timed(plan, options.timing)
        file = options.results or plan.outputs / ("ablation.json" if plan.split == "test" else "ablation_dev.json")
        write = partial(_write, file, _command(options), plan, planned, timed)
        failed = [] if options.table else [*_run(planned, write), *_time(timed, write)]
        whole = write()
        if whole and _is_the_repositorys(plan):
            _write(RESULTS / file.name, _command(options), plan, planned, timed)
    except CodeToolError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. What is finished is kept; the same command continues.")
    print(file.with_suffix(".md").read_text(encoding="utf-8"))
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}; the reasons stand above. The same command tries them again.")


def _run(planned: Sequence[CellRun], write: Callable[[], object]) -> Iterator[str]:
    """Run every cell and return the names of those that failed."""
    for run in planned:
        sharing = [str(other.folder) for other in planned if _shares(other, run)]
        if _start(run, f"reuse=[{','.join(sharing)}]"):
            yield run.name
        write()


def _shares(other: CellRun, run: CellRun) -> bool:
    """Return whether the candidates of the other run are those that this run would draw."""
    drawn = other.cell.sampled and run.cell.sampled and other.seed == run.seed
    return drawn and other.folder != run.folder and (other.folder / "config.yaml").is_file()


def _timed(plan: Plan, tasks: int) -> list[CellRun]:
    """Return the runs to time: those of the first seed, on the given number of tasks, in separate folders."""
    if not tasks:
        return []
    limit = min(tasks, plan.limit or tasks)
    return runs(replace(plan, limit=limit, seeds=plan.seeds[:1], outputs=plan.outputs / "timing"))


def _time(timed: Sequence[CellRun], write: Callable[[], object]) -> Iterator[str]:
    """Run the cells that have not been timed; an interrupted one starts over."""
    for run in timed:
        _wait_for(run.folder / ".lock")
        if seconds(run) is None:
            shutil.rmtree(run.folder, ignore_errors=True)
            if _start(run, "logger=none", f"concurrency={MOST_TIMED}"):
                yield f"timing of {run.name}"
            write()


def _start(run: CellRun, *words: str) -> bool:
    """Run a cell to its end and return whether it failed."""
    print(f"\n{run.name}", file=sys.stderr, flush=True)
    _wait_for(run.folder / ".lock")
    given = {get_key(word) for word in words}
    kept = [word for word in run.options if get_key(word) not in given]
    code = subprocess.run([sys.executable, "run.py", *kept, *words], cwd=ROOT, check=False).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code != 0


def _wait_for(lock: Path) -> None:
    """Wait until no process writes to the folder, since the run of a killed driver may still be active."""
    with suppress(FileNotFoundError), lock.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _write(file: Path, command: str, plan: Plan, planned: Sequence[CellRun], timed: Sequence[CellRun]) -> bool:
    """Write the available results as JSON with the tables next to it; return whether they are complete."""
    content = result(command, plan, planned, timed)
    file.parent.mkdir(parents=True, exist_ok=True)
    journal.atomic_write(file, [json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"])
    journal.atomic_write(file.with_suffix(".md"), ["\n".join([*markdown(content), ""]).encode()])
    return not content["missing"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=("test", "dev"), default="test", help="choices are made on dev")
    parser.add_argument("--limit", type=_positive, help="the first so many tasks: a trial")
    parser.add_argument("--seeds", type=_numbers, default=SEEDS, help="such as 0,1")
    parser.add_argument("--outputs", type=Path, default=Path("outputs/embedded_ablation"), help="folder of the runs")
    parser.add_argument("--policy", type=Path, help="folder of the policy's adapter; the repository's if left out")
    parser.add_argument("--prm", type=Path, help="folder of the PRM's adapter; the repository's if left out")
    names = [cell.name for cell in CELLS]
    parser.add_argument("--cells", help=f"some of {','.join(names)}; all if left out")
    parser.add_argument("--timing", type=int, default=40, help="tasks on which each cell is timed; 0: it is not")
    parser.add_argument("--results", type=Path, help="JSON file of the results")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of what is there")
    parser.add_argument("words", nargs="*", help="further options of run.py, for every cell")
    options = parser.parse_args()
    if unknown := {*(options.cells or names[0]).split(",")} - {*names}:
        parser.error(f"--cells {','.join(unknown)}: no such cell. There are: {', '.join(names)}")
    if not 0 <= options.timing <= MOST_TIMED:
        parser.error(f"--timing {options.timing}: 0 to {MOST_TIMED}")
    varying = {get_key(word) for cell in CELLS for word in cell.words} | {"seed", "outputs", "limit", "benchmark.split"}
    if taken := [word for word in options.words if get_key(word) in varying]:
        parser.error(f"{' '.join(taken)}: the cells and the options of this command say that")
    return options


def _plan(options: argparse.Namespace) -> Plan:
    chosen = options.cells.split(",") if options.cells else [cell.name for cell in CELLS]
    return Plan(
        split=options.split,
        limit=options.limit,
        seeds=options.seeds,
        outputs=options.outputs.resolve(),
        policy=options.policy and options.policy.resolve(),
        prm=options.prm and options.prm.resolve(),
        cells=tuple(cell for cell in CELLS if cell.name in chosen),
        words=tuple(options.words),
    )


def _is_the_repositorys(plan: Plan) -> bool:
    """Return whether the results belong to the repository: complete, with its own adapters and options."""
    part = plan.limit or len(plan.cells) < len(CELLS) or (plan.split == "test" and plan.seeds != SEEDS)
    return not (part or plan.words or plan.policy or plan.prm)


def _command(options: argparse.Namespace) -> str:
    """Return the command without folder names of this machine."""
    words = ["python", "experiments/embedded_ablation/ablation.py"]
    for name in ("split", "limit", "seeds", "policy", "prm", "cells", "timing"):
        value = getattr(options, name)
        if value not in (None, {"split": "test", "seeds": SEEDS, "timing": 40}.get(name)):
            text = value.name if isinstance(value, Path) else ",".join(map(str, value)) if name == "seeds" else value
            words += [f"--{name}", str(text)]
    return shlex.join([*words, *options.words])


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(int, text.split(","))))


if __name__ == "__main__":
    main()
