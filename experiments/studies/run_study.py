"""Run a study: every cell of its `study.yaml`, then its table and figure.

Usage: python experiments/studies/run_study.py NAME [--split dev] [--seeds 0,1] [--limit N] [--outputs DIR] …

If the program is stopped, the same command resumes it. Cells of all studies with the same policy and seed share their
candidates. Run times are measured separately, on a few tasks, without sharing.
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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from study import STUDIES, CellRun, Plan, find_shared_folders, load_study, plan_runs
from study_figure import build_chart
from study_result import collect_result, measure_seconds
from study_table import render_tables

from codetool.config.override_errors import get_key
from codetool.errors import CodeToolError
from codetool.evaluation.charts import write_chart
from codetool.runs import journal

ROOT = Path(__file__).parents[2]
MAX_TIMED = 200
"""Tasks that every split has, and that `run.py` starts at once."""
INTERRUPTED = 130


@dataclass(frozen=True)
class Writer:
    """Writes the results that are there, as JSON with the tables and the figure next to it."""

    command: str
    plan: Plan
    planned: Sequence[CellRun]
    timed: Sequence[CellRun]

    def write(self, file: Path) -> bool:
        """Write `file`, its `.md` and, where the study has curves, its `.svg`; return whether nothing is missing."""
        content = collect_result(self.command, self.plan, self.planned, self.timed)
        file.parent.mkdir(parents=True, exist_ok=True)
        journal.atomic_write(file, [json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"])
        titles = {name: cell.title for name, cell in self.plan.study.cells.items()}
        journal.atomic_write(file.with_suffix(".md"), ["\n".join([*render_tables(content, titles), ""]).encode()])
        if self.plan.study.curves:
            write_chart(build_chart(content, self.plan.study), file.parent, file.stem)
        return not content["missing"]


def main() -> None:
    """Run the unfinished cells and write the table. Exits with 1 if a cell failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _parse_options()
    try:
        plan = _make_plan(options)
        timing = plan.study.timing if options.timing is None else options.timing
        planned, timed = plan_runs(plan), _plan_timed(plan, timing)
        writer = Writer(_format_command(options), plan, planned, timed)
        file = options.results or plan.outputs / plan.study.name / f"{plan.split}.json"
        write = partial(writer.write, file)
        failed = [] if options.table else [*_run_cells(plan, planned, write), *_time_cells(timed, write)]
        if write() and _is_whole_study(plan):
            writer.write(STUDIES / plan.study.name / "results" / f"{plan.split}.json")
    except CodeToolError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped. What is finished is kept; the same command continues.")
    print(file.with_suffix(".md").read_text(encoding="utf-8"))
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}; the reasons stand above. The same command tries them again.")


def _run_cells(plan: Plan, planned: Sequence[CellRun], write: Callable[[], object]) -> Iterator[str]:
    """Run every cell and yield the names of those that failed."""
    for run in planned:
        shared = ",".join(map(str, find_shared_folders(run, plan.outputs)))
        if _run_cell(run, f"reuse=[{shared}]"):
            yield run.label
        write()


def _plan_timed(plan: Plan, tasks: int) -> list[CellRun]:
    """Return the runs to time: those of the first seed, on the given number of tasks, in separate folders."""
    if not tasks:
        return []
    limit = min(tasks, plan.limit or tasks)
    return plan_runs(replace(plan, limit=limit, seeds=plan.seeds[:1], outputs=plan.outputs / "timing"))


def _time_cells(timed: Sequence[CellRun], write: Callable[[], object]) -> Iterator[str]:
    """Run the cells that have not been timed; an interrupted one starts over. Yield those that failed."""
    for run in timed:
        _wait_for_lock(run.folder / ".lock")
        if measure_seconds(run) is None:
            shutil.rmtree(run.folder, ignore_errors=True)
            if _run_cell(run, "logger=none", f"concurrency={MAX_TIMED}"):
                yield f"timing of {run.label}"
            write()


def _run_cell(run: CellRun, *options: str) -> bool:
    """Run a cell to its end and return whether it failed."""
    print(f"\n{run.label}", file=sys.stderr, flush=True)
    _wait_for_lock(run.folder / ".lock")
    given = {get_key(option) for option in options}
    kept = [option for option in run.options if get_key(option) not in given]
    code = subprocess.run([sys.executable, "run.py", *kept, *options], cwd=ROOT, check=False).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code != 0


def _wait_for_lock(lock: Path) -> None:
    """Wait until no process writes to the folder, since the run of a killed driver may still be active."""
    with suppress(FileNotFoundError), lock.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="name of a folder in experiments/studies")
    parser.add_argument("--split", choices=("test", "dev"), help="split of tmdb_verified; the study's if left out")
    parser.add_argument("--limit", type=_parse_positive, help="number of tasks: a trial")
    parser.add_argument("--seeds", type=_parse_numbers, help="such as 0,1; the study's if left out")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/studies"), help="folder of the runs of all studies"
    )
    parser.add_argument("--policy", type=Path, help="folder of the policy's adapter; the repository's if left out")
    parser.add_argument("--prm", type=Path, help="folder of the PRM's adapter; the repository's if left out")
    parser.add_argument("--cells", type=_parse_names, default=(), help="names of some cells; all if left out")
    parser.add_argument("--timing", type=_parse_timing, help=f"tasks on which each cell is timed, 0 to {MAX_TIMED}")
    parser.add_argument("--results", type=Path, help="JSON file of the results")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of what is there")
    parser.add_argument("options", nargs="*", help="further options of run.py, for every cell")
    return parser.parse_intermixed_args()


def _make_plan(options: argparse.Namespace) -> Plan:
    """Return the plan. Raises CodeToolError for an unknown study; exits for unknown cells and taken options."""
    study = load_study(options.study)
    if unknown := [name for name in options.cells if name not in study.cells]:
        sys.exit(f"error: --cells {','.join(unknown)}: no such cell. There are: {', '.join(study.cells)}")
    varied = {get_key(option) for cell in study.cells.values() for option in cell.options}
    varied |= {"seed", "outputs", "limit", "benchmark.split"}
    if taken := [option for option in options.options if get_key(option) in varied]:
        sys.exit(f"error: {' '.join(taken)}: set by the study's cells or by an option of this command")
    return Plan(
        study=study,
        split=options.split or study.split,
        limit=options.limit,
        seeds=options.seeds or study.seeds,
        outputs=options.outputs.resolve(),
        policy=options.policy and options.policy.resolve(),
        prm=options.prm and options.prm.resolve(),
        cells=options.cells,
        options=tuple(options.options),
    )


def _is_whole_study(plan: Plan) -> bool:
    """Return whether the results belong to the repository: all cells, with its own adapters and options."""
    is_part = plan.limit or len(plan.chosen) < len(plan.study.cells)
    is_part = is_part or (plan.split == plan.study.split and plan.seeds != plan.study.seeds)
    return not (is_part or plan.options or plan.policy or plan.prm)


def _format_command(options: argparse.Namespace) -> str:
    """Return the command without folder names of this machine."""
    words = ["python", "experiments/studies/run_study.py", options.study]
    for name in ("split", "limit", "seeds", "policy", "prm", "cells", "timing"):
        value = getattr(options, name)
        if value not in (None, ()):
            text = (
                value.name
                if isinstance(value, Path)
                else ",".join(map(str, value))
                if isinstance(value, tuple)
                else value
            )
            words += [f"--{name}", str(text)]
    return shlex.join([*words, *options.options])


def _parse_positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _parse_timing(text: str) -> int:
    if not 0 <= (number := int(text)) <= MAX_TIMED:
        raise argparse.ArgumentTypeError(f"{text}: 0 to {MAX_TIMED}")
    return number


def _parse_numbers(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _parse_names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split(",")))


if __name__ == "__main__":
    main()
