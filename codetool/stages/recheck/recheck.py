"""stage=recheck: check the stored answers of a run again, without running anything.

The new verdicts are written into a folder of their own, which is a run folder too: reports, comparisons and judging
read it. Its name depends on the answers, the checker and the judge, so other verdicts never replace it, and the same
command resumes a stopped judging. Verdicts that changed are listed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.judged_results import JUDGED_FILE, get_metric_by_task, load_result_lines
from codetool.evaluation.paired_comparison import compare_systems
from codetool.evaluation.result_files import RESULTS, TREES, TreeFile
from codetool.evaluation.summary import RunSummary, encode_summary, summarize_results
from codetool.interfaces import Benchmark
from codetool.judges.endpoint_judge import NoJudge
from codetool.judges.votes import VOTE_SHAPE, VOTES_FILE
from codetool.runs import damaged_lines, journal
from codetool.runs.code_version import read_code_version
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.runs.provenance import PROVENANCE_FILE, read_provenance, record_session
from codetool.runs.repeats import find_task_id, get_original, map_to_originals, repeat_tasks
from codetool.stages import run_folder
from codetool.stages.estimates.estimate import describe_estimate
from codetool.stages.estimates.vote_estimate import estimate_votes
from codetool.stages.evaluate.summary_display import build_metrics_table
from codetool.stages.judge.judge_run import judge_answers, load_judge_inputs
from codetool.stages.recheck.benchmark_choice import choose_benchmark
from codetool.stages.recheck.recheck_answers import AnswerRechecker, Flip, find_flips
from codetool.stages.recheck.settings import RecheckConfig
from codetool.stages.report import load_requested_tasks, read_settings, write_report_if_possible
from codetool.stages.run_log import choose_level, log_to_file
from codetool.types import Task

FLIPS_FILE = "flips.csv"
MAX_CELL_CHARS = 48


@dataclass(frozen=True)
class _Recheck:
    """A run and what its answers are checked by."""

    folder: Path
    settings: Mapping[str, Any]
    """Settings of the run, with the benchmark that checks."""
    benchmark: Benchmark
    tasks: Sequence[Task]
    """The tasks that the run was asked for, as the benchmark has them now, each as often as its repeats."""
    lines: Sequence[Mapping[str, Any]]
    """Result lines of these tasks, with the judge's verdicts."""
    identity: Identity
    has_other_data: bool
    note: str | None


def recheck(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Check the answers, write the new verdicts, print those that changed, and return 0.

    Raises ConfigError or MissingError if the folder is none of a run, or holds answers to other tasks.
    """
    job = _read_job(config, choices)
    path = config.outputs / "recheck" / f"{job.folder.resolve().name}-{_compute_digest(job)}"
    printed = Console() if console.is_terminal else Console(width=160)
    if job.note is not None:
        console.print(job.note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if config.dry_run:
        for line in (f"{path}: {_count_answers(job)} would be checked", *_describe_judging(config, job, path)):
            printed.print(line, markup=False, highlight=False, soft_wrap=True)
        return 0
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, False, (RESULTS,))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(None)))
        damaged_lines.set_damaged_lines_aside(path / VOTES_FILE, VOTE_SHAPE)
        stack.enter_context(record_session(path, job.identity, config.settings, get_command()))
        new = _write_lines(job, path)
        judging = judge_answers(config, path, job.tasks, console) if not isinstance(config.judge, NoJudge) else {}
        new = load_result_lines(path, [line["task_id"] for line in new])
        flips = list(find_flips(job.lines, new, {task.id: task for task in job.tasks if task.repeat == 1}))
        _write_flips(path, flips)
        summary = _write_summary(config, job, path, new, judging)
    _print_result(job, summary, flips, path, config.recheck, printed)
    return 0


def _read_job(config: RunConfig, choices: Mapping[str, str]) -> _Recheck:
    settings: RecheckConfig = config.recheck
    folder = _check_folder(settings.folder)
    if not isinstance(config.judge, NoJudge):
        config.judge.build_vote_settings(config.seed)  # raises for a judge without a model, before anything is read
    recorded, provenance = read_settings(folder), read_provenance(folder)
    option, benchmark, hashed = choose_benchmark(config, choices, recorded, provenance.identity)
    judge = recorded.get("judge") if isinstance(config.judge, NoJudge) else config.settings["judge"]
    merged = {**recorded, "benchmark": option, "judge": judge}
    all_lines = load_result_lines(folder)
    if not all_lines:
        raise ConfigError(f"recheck.folder={folder} has no result yet")
    checksum = benchmark.checksum()
    by_id = {task.id: task for task in benchmark.tasks()}
    lines = [line for line in all_lines if find_task_id(line) in by_id]
    if not lines:
        raise ConfigError(
            f"recheck.folder={folder} holds no answer to a task of this benchmark: it has {len(all_lines)} results, "
            f"such as of {all_lines[0]['task_id']}."
        )
    repeats = recorded.get("repeats", 1)
    tasks = repeat_tasks(_list_asked(folder, recorded, by_id, lines), repeats if isinstance(repeats, int) else 1)
    other = checksum != provenance.identity.checksums.get("benchmark")
    plugins = compute_plugin_checksums(merged, ("benchmark",))
    checksums = {**provenance.identity.checksums, "benchmark": checksum, **plugins}
    checker = [hashed, checksum, plugins, read_code_version(merged).key]
    identity = {**provenance.identity.settings, "benchmark": hashed, "recheck": _hash_values(checker)}
    if not isinstance(config.judge, NoJudge):
        identity["judge"] = select_identity_settings(config, choices, ("judge",))["judge"]
    note = f"{len(all_lines) - len(lines)} of {len(all_lines)} results are of tasks that the benchmark does not have"
    return _Recheck(
        folder, merged, benchmark, tasks, lines, Identity(identity, checksums, provenance.identity.version), other,
        note if len(lines) < len(all_lines) else None,
    )  # fmt: skip


def _list_asked(
    folder: Path, recorded: Mapping[str, Any], by_id: Mapping[str, Task], lines: Sequence[Mapping[str, Any]]
) -> list[Task]:
    """Return the tasks that the run was asked for and those that have a line, in the order of the benchmark of now.

    Where the run's own benchmark cannot be loaded any more, a run with a limit was asked for the first ones.
    """
    asked = {find_task_id(line) for line in lines}
    try:
        asked |= {get_original(task).id for task in load_requested_tasks(folder, recorded)}
    except (CodeToolError, OSError):
        asked |= set() if recorded.get("ids") else set([*by_id][: recorded.get("limit")])
    return [task for task_id, task in by_id.items() if task_id in asked]


def _check_folder(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("recheck.folder is not set. Name a run folder: recheck.folder=outputs/evaluate/NAME")
    if not folder.is_dir():
        raise MissingError(f"recheck.folder: there is no folder {folder} (from {Path.cwd()}).")
    for name in ("config.yaml", PROVENANCE_FILE, RESULTS):
        if name == RESULTS and not (folder / name).is_file():
            raise ConfigError(f"recheck.folder={folder} has no result yet")
        if not (folder / name).is_file():
            raise ConfigError(f"recheck.folder={folder} is no run folder: there is no {name} in it")
    return folder


def _compute_digest(job: _Recheck) -> str:
    """Return a hash of the answers, the checker and the judge."""
    answers = [[line["task_id"], line["answer"]] for line in job.lines]
    return _hash_values([job.identity.digest, answers])


def _hash_values(values: Any) -> str:
    return sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _write_lines(job: _Recheck, path: Path) -> list[dict[str, Any]]:
    """Write the settings, the new result lines, the trees, and the run's own votes, and return the lines."""
    trees = TreeFile(job.folder / TREES)
    by_id = {task.id: task for task in job.tasks if task.repeat == 1}
    rechecker = AnswerRechecker(job.benchmark, by_id, trees, job.has_other_data)
    stored = [line["task_id"] for line in job.lines]
    lines = rechecker.check_all([_remove_votes(line) for line in job.lines])
    journal.atomic_write(path / "config.yaml", [yaml.safe_dump(dict(job.settings), sort_keys=False).encode()])
    journal.atomic_write(path / RESULTS, map(journal.encode_record, lines))
    journal.atomic_write(path / TREES, trees.read_lines(stored))
    if (job.folder / JUDGED_FILE).is_file():
        journal.atomic_write(path / JUDGED_FILE, [(job.folder / JUDGED_FILE).read_bytes()])
    return lines


def _remove_votes(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line as it is in `results.jsonl`."""
    metrics = {name: value for name, value in line["metrics"].items() if name not in ("sopr", "sowr")}
    return {name: value for name, value in line.items() if name != "judged"} | {"metrics": metrics}


def _describe_judging(config: RunConfig, job: _Recheck, path: Path) -> Iterator[str]:
    """Yield what the judge's votes on the answers are expected to cost; nothing without a judge."""
    if not isinstance(config.judge, NoJudge):
        cases = list(load_judge_inputs(job.folder, {task.id: task for task in job.tasks}))
        yield from describe_estimate(estimate_votes(config, path, cases))


def _write_flips(path: Path, flips: Sequence[Flip]) -> None:
    text = io.StringIO()
    names = ("task_id", "check", "old", "new", "answer", "reference", "query")
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(flip) for flip in flips)
    journal.atomic_write(path / FLIPS_FILE, [text.getvalue().encode()])


def _summarize(lines: Sequence[Mapping[str, Any]], tasks: Sequence[Task], seed: int) -> RunSummary:
    templates, groups = {task.id: task.template for task in tasks}, {task.id: task.group for task in tasks}
    originals = map_to_originals(tasks)
    places = {task.id: place for place, task in enumerate(tasks)}
    lines = sorted(lines, key=lambda line: places[line["task_id"]])  # intervals depend on the order, which is a run's
    return summarize_results(lines, len(tasks), seed=seed, templates=templates, groups=groups, originals=originals)


def _write_summary(
    config: RunConfig, job: _Recheck, path: Path, lines: Sequence[Mapping[str, Any]], judging: Mapping[str, Any]
) -> RunSummary:
    summary = _summarize(lines, job.tasks, config.seed)
    content = encode_summary(summary) | ({"judge": dict(judging)} if judging else {})
    journal.atomic_write(path / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_report_if_possible(path, lines, summary, job.tasks)
    return summary


def _print_result(
    job: _Recheck, summary: RunSummary, flips: Sequence[Flip], path: Path, settings: RecheckConfig, console: Console
) -> None:
    console.print(build_metrics_table(summary))
    if flips:
        table = Table("task", "check", "old", "new", "answer", "reference", box=None, pad_edge=False)
        for flip in flips[: settings.shown]:
            cells = (flip.task_id, flip.check, flip.old, flip.new, flip.answer, flip.reference)
            table.add_row(*(_shorten(cell) for cell in cells))
        console.print(table)
    for line in (*_describe_flips(job, flips, path), f"files in {path}: {_list_files(path)}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _describe_flips(job: _Recheck, flips: Sequence[Flip], path: Path) -> Iterator[str]:
    changed = "1 verdict" if len(flips) == 1 else f"{len(flips)} verdicts"
    yield f"{_count_answers(job)} checked, {changed} changed ({FLIPS_FILE})"
    old, new = (get_metric_by_task(lines, "success") for lines in (job.lines, load_result_lines(path)))
    made = compare_systems(new, old, {task.id: task.template for task in job.tasks})
    if made is not None and not made.wins + made.losses:
        yield f"success {100 * made.second:.1f} % before and now"
    elif made is not None and made.estimate.interval is not None:
        low, high = made.estimate.interval
        yield (
            f"success {100 * made.second:.1f} % before, {100 * made.first:.1f} % now: difference "
            f"{100 * made.estimate.value:+.1f} points, 95 % interval {100 * low:+.1f} … {100 * high:+.1f}"
        )


def _count_answers(job: _Recheck) -> str:
    return "1 answer" if len(job.lines) == 1 else f"{len(job.lines)} answers"


def _list_files(path: Path) -> str:
    return ", ".join(sorted(file.name for file in path.iterdir() if file.is_file() and not file.name.startswith(".")))


def _shorten(value: Any) -> str:
    text = " ".join(str("" if value is None else value).split()).replace("[", "\\[")
    return text if len(text) <= MAX_CELL_CHARS else f"{text[: MAX_CELL_CHARS - 1]}…"
