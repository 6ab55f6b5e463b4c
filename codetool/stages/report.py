"""stage=report: write `report.html` of a run folder from its files. The run may still be in progress."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.build_settings import BuildError, build_object
from codetool.config.run_config import RunConfig, strip_operational_lists
from codetool.config.setting_checks import TARGET_KEY, find_wrong_targets, find_wrong_values
from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.html_report import ReportContext, render_page
from codetool.evaluation.judged_results import load_result_lines
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.evaluation.summary import RunSummary, summarize_results
from codetool.interfaces import Benchmark
from codetool.runs import journal, provenance
from codetool.runs.bounded_input import parse_yaml, read_text
from codetool.runs.provenance import Provenance
from codetool.runs.repeats import map_to_originals, repeat_tasks
from codetool.runs.task_ids import select_tasks
from codetool.stages.evaluate.summary_display import describe_untrained_prm
from codetool.stages.foreign_modules import refuse_foreign_module
from codetool.stages.report_prompts import RunPrompts, load_run_prompts
from codetool.types import Task

REPORT_FILE = "report.html"
NO_BENCHMARK_NOTE = (
    "Expected answers, gold paths and templates are left out, and tasks without a result are not counted:"
)
NO_PROMPTS_NOTE = "The prompts of the steps are left out:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReportConfig:
    """Settings of stage=report."""

    folder: Path | None
    """The run folder."""
    prompts: bool
    """Whether the report shows what policy and PRM read at each step."""


def report(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Write the report and return 0. If the benchmark cannot be loaded, its data on tasks are left out.

    Raises ConfigError if the folder is no run folder or holds lines that cannot be read.
    """
    folder = _check_folder(config.report.folder)
    settings = read_settings(folder)
    notes: tuple[str, ...] = ()
    try:
        tasks = load_requested_tasks(folder, settings)
    except (CodeToolError, OSError) as error:
        tasks, notes = [], (f"{NO_BENCHMARK_NOTE} {error}",)
    for note in notes:
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    try:
        template_of = {task.id: task.template for task in tasks}
        lines = load_result_lines(folder, template_of if tasks else None)
        groups, seed = {task.id: task.group for task in tasks}, settings.get("seed", 0)
        originals = map_to_originals(tasks)
        summary = summarize_results(
            lines, len(tasks) or len(lines), seed=seed, templates=template_of, groups=groups, originals=originals
        )
        if not config.dry_run:
            prompts, notes = _load_prompts(folder, settings, notes, console) if config.report.prompts else (None, notes)
            write_report(folder, lines, summary, tasks, notes, prompts)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"report.folder={folder} holds lines of another version ({error!r})") from error
    state = "would be written" if config.dry_run else f"{len(lines)} of {summary.asked} tasks"
    Console().print(f"{folder / REPORT_FILE}: {state}", markup=False, highlight=False, soft_wrap=True)
    return 0


def write_report(
    folder: Path,
    lines: Sequence[Mapping[str, Any]],
    summary: RunSummary,
    tasks: Sequence[Task],
    notes: tuple[str, ...] = (),
    prompts: RunPrompts | None = None,
) -> None:
    """Write the report of these result lines, in their order. The file is replaced atomically."""
    settings, run_provenance = read_settings(folder), provenance.read_provenance(folder)
    about = ReportContext(
        name=folder.resolve().name,
        written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        config=(folder / "config.yaml").read_text(encoding="utf-8"),
        settings={name: value for name, value in run_provenance.identity.settings.items() if name != "stage"},
        made_from=read_checksums(folder) | _describe_codes(run_provenance),
        sandbox_layers=tuple(
            "; ".join(f"{layer}: {means}" for layer, means in layers.items()) for layers in run_provenance.sandboxes
        ),
        notes=(*notes, *_warn_of_several_codes(run_provenance), *describe_untrained_prm(settings)),
    )
    trees = TreeFile(folder / TREES).read_trees([line["task_id"] for line in lines])
    template_of = {task.id: task for task in tasks}
    journal.atomic_write(folder / REPORT_FILE, render_page(about, summary, lines, trees, template_of, prompts))


def _load_prompts(
    folder: Path, settings: Mapping[str, Any], notes: tuple[str, ...], console: Console
) -> tuple[RunPrompts | None, tuple[str, ...]]:
    """Return the run's prompts, None if they cannot be rebuilt, and the notes with the reason."""
    try:
        return load_run_prompts(folder, settings), notes
    except (CodeToolError, OSError) as error:
        note = f"{NO_PROMPTS_NOTE} {error}"
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
        return None, (*notes, note)


def write_report_if_possible(
    folder: Path, lines: Sequence[Mapping[str, Any]], summary: RunSummary, tasks: Sequence[Task]
) -> None:
    """Write the report; log a warning if that fails, since a missing report must not fail a run."""
    try:
        write_report(folder, lines, summary, tasks)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        log.warning("%s was not written (%s)", REPORT_FILE, reason, exc_info=True)  # the console shows the line alone


def _check_folder(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("report.folder is not set. Name a run folder: report.folder=outputs/evaluate/NAME")
    for name in ("config.yaml", "results.jsonl"):
        if not (folder / name).is_file():
            raise ConfigError(f"report.folder={folder} is no run folder: there is no {name} in it")
    return folder


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings in a run folder's `config.yaml`. Raises ConfigError if the file cannot be read."""
    try:
        settings = parse_yaml(read_text(folder / "config.yaml"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / 'config.yaml'} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{folder / 'config.yaml'} holds no settings")
    return settings


def read_checksums(folder: Path) -> dict[str, str]:
    """Return CodeTool's version and the checksums that determine a folder's result, by name."""
    identity = provenance.read_provenance(folder).identity
    return {"codetool": identity.version} | {f"sha256 of {name}": value for name, value in identity.checksums.items()}


def _describe_codes(run_provenance: Provenance) -> dict[str, str]:
    """Return a description of each code version that worked on a folder, by name."""
    codes = [str(code) for code in run_provenance.codes]
    return {"code" if len(codes) == 1 else f"code {number}": code for number, code in enumerate(codes, start=1)}


def _warn_of_several_codes(run_provenance: Provenance) -> Iterator[str]:
    """Yield a note if the code changed between the sessions of a run."""
    if len(run_provenance.codes) > 1:
        codes = "; ".join(map(str, run_provenance.codes))
        yield f"This result was made by {len(run_provenance.codes)} different codes: {codes}."


def load_requested_tasks(folder: Path, settings: Mapping[str, Any]) -> Sequence[Task]:
    """Load the tasks that a run was asked for, each as often as its repeats. Raises what `load_tasks` raises."""
    repeats = settings.get("repeats", 1)
    ids = settings.get("ids")
    tasks = select_tasks(load_tasks(folder, settings), Path(ids) if ids else None, settings.get("limit"))
    return repeat_tasks(tasks, repeats if isinstance(repeats, int) else 1)


def load_tasks(folder: Path, settings: Mapping[str, Any]) -> Sequence[Task]:
    """Load the tasks of a run's benchmark. Raises MissingError if that is impossible or its data have changed."""
    option = build_benchmark(settings.get("benchmark"))
    if option.checksum() != provenance.read_provenance(folder).identity.checksums.get("benchmark"):
        raise MissingError("the benchmark's data have changed since the run")
    return option.tasks()


def build_benchmark(benchmark: Any) -> Benchmark:
    """Return the benchmark of recorded settings. Raises MissingError if they are those of none that there is."""
    if not isinstance(benchmark, Mapping):
        raise MissingError("config.yaml names no benchmark")
    refuse_foreign_module(benchmark)
    objections = [*find_wrong_targets(benchmark, "benchmark", Benchmark), *find_wrong_values(benchmark, "benchmark")]
    if objections:  # a file must not choose what runs
        raise MissingError(f"config.yaml names no benchmark that there is: {'; '.join(objections)}")
    own_settings = {name: value for name, value in strip_operational_lists(benchmark).items() if name != TARGET_KEY}
    try:
        option = build_object(benchmark.get(TARGET_KEY), own_settings, "benchmark")
    except BuildError as error:  # settings of another version
        cause = " ".join(str(error.__cause__).split())
        raise MissingError(f"the benchmark cannot be had with the settings in config.yaml ({cause})") from error
    if not isinstance(option, Benchmark):
        raise MissingError(f"{benchmark['_target_']} is no benchmark")
    return option
