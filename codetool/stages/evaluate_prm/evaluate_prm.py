"""stage=evaluate_prm: score steps with known values by a PRM, and compare the scores with these values.

The PRM is called as in a search: with the task, the path and all siblings at once, and with their observations if it
uses them. Every score is journalled in `scores.jsonl`, so that the same command resumes a stopped run.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass as record
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError, WriteError
from codetool.interfaces import ProcessRewardModel
from codetool.prm.none import NoPRM
from codetool.prm.oracle import OraclePRM
from codetool.process_data.agentprocessbench import AgentProcessBench
from codetool.runs import damaged_lines, journal, provenance
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.journal import Journal
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.runs.provenance import record_session
from codetool.stages import run_folder
from codetool.stages.evaluate_prm.prm_eval_source import check_source, describe_source, load_source
from codetool.stages.fault_journal import record_faults
from codetool.stages.hub_models import (
    download_models,
    find_hub_models,
    keep_recorded_commits,
    print_downloads,
    record_models,
)
from codetool.stages.logged_run import (
    describe_process_data,
    describe_used_adapters,
    log_result,
    start_stage_loggers,
)
from codetool.stages.run_log import choose_level, log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.train import trained_on
from codetool.stages.wandb_content import build_prm_content
from codetool.tracking.run_loggers import RunLoggers

if TYPE_CHECKING:
    from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset, Siblings

SCORES_FILE = "scores.jsonl"
SCORE_SHAPE = {"task_id": str, "node_id": str, "score": (int, float)}

log = logging.getLogger(__name__)

MAX_UNANSWERED = 3
"""Number of sibling groups without an answer, while no other got one, after which no further one is scored."""

Key = tuple[str, str]
"""Task id and node id."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EvaluatePRMConfig:
    """Settings of stage=evaluate_prm. Only `data` changes the scores; the others change the metrics."""

    data: Literal["rollouts", "agentprocessbench"]
    """Steps to score: those of rollout trees in `runs`, or the trajectories of AgentProcessBench."""
    runs: tuple[Path, ...]
    """Folders of `stage=collect`, or the `process.jsonl` in them."""
    agentprocessbench: InstanceOf[AgentProcessBench]
    """Parts of AgentProcessBench, and where their files are."""
    threshold: Annotated[float, Field(ge=0, le=1)]
    """Lowest score that counts as a positive prediction, for accuracy and first errors."""
    weight_pairs_by_count: bool
    """Whether a pair of siblings is weighted by the product of their multiplicities."""


def evaluate_prm(
    config: RunConfig,
    choices: Mapping[str, str],
    console: Console,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
    **_: Any,
) -> RunOutcome:
    """Evaluate the PRM and return the outcome, with the number of tasks whose steps could not all be scored.

    Those tasks count in no metric, and the same command tries them again. If `sweep` is the name of a sweep and `label`
    its cell, only warnings are printed. Raises CodeToolError; the scores until then are kept.
    """
    from codetool.config.invocation import get_command
    from codetool.stages.evaluate.run import print_other_code, write_config
    from codetool.stages.evaluate_prm import prm_eval_summary  # here: importing numpy would delay error messages

    _check_config(config)
    data = load_source(config)
    parent, stem = config.outputs / config.stage, f"{'+'.join(data.benchmarks)}-{choices['prm']}"
    config = keep_recorded_commits(config, parent, stem, _select_settings(config, choices))
    checksums, models = dict(data.checksums), find_hub_models(config, ("prm",))
    if (prm := config.prm.checksum()) is not None:
        checksums["prm"] = prm
    identity = _compute_identity(config, choices, checksums)
    path = run_folder.select_folder(parent / f"{stem}-{identity.digest}", config.fresh)
    if sweep is None:
        _announce(config, choices, data, path, console)
    warnings = _describe_overlap(config, data)
    if config.dry_run:
        print_downloads(models, console, "would be downloaded")
        print_other_code(config, path, console)
        for line in warnings:
            console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
        return RunOutcome(path)
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, sweep is not None, (SCORES_FILE,))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(sweep)))
        damaged_lines.set_damaged_lines_aside(path / SCORES_FILE, SCORE_SHAPE)
        write_config(config, path)
        command, done, recorded = get_command(), len(_read_scores(path)), record_models(models)
        stack.enter_context(record_session(path, identity, config.settings, command, done=done, models=recorded))
        for line in warnings:
            log.warning("%s", line)
        named = [*data.benchmarks, choices["prm"]]
        started = start_stage_loggers(
            config, choices, path, named, "sibling_groups/done", sweep=sweep, label=label, upload=upload
        )
        loggers = stack.enter_context(started)
        download_models(models)
        with record_faults(path):
            failures = asyncio.run(_score(config, data, path, console, loggers))
        measured = data.without(failures)
        if not measured.groups:
            raise CodeToolError(f"no task could be scored; the first failure: {next(iter(failures.values()))}")
        summary = Console(quiet=sweep is not None)
        prm_eval_summary.write_prm_summary(
            config, measured, _read_scores(path), path, summary, failures, choices["prm"]
        )
        data_used = [describe_process_data(run, is_input=True) for run in config.evaluate_prm.runs]
        content = build_prm_content(path, [*data_used, *describe_used_adapters(config.prm)])
        status = log_result(loggers, content, quiet=sweep is not None)
    metrics = json.loads((path / prm_eval_summary.METRICS_FILE).read_text())
    return RunOutcome(path, len(failures), metrics=metrics, tracked=status)


def _describe_overlap(config: RunConfig, data: PRMEvalDataset) -> list[str]:
    """Return warnings of the overlap between the data and the PRM's training data."""
    from codetool.models.locate import resolve_path

    path = resolve_path("prm", getattr(config.prm, "path", None))
    trained = None if path is None else trained_on.read_training_tasks(path)
    return (
        [
            f"evaluate_prm.{'runs' if config.evaluate_prm.runs else 'data'}: {line}"
            for line in trained_on.describe_overlap(trained, data.tasks)
        ]
        if trained
        else []
    )


def _check_config(config: RunConfig) -> None:
    if isinstance(config.prm, NoPRM):
        raise ConfigError(
            "stage=evaluate_prm: prm=none judges nothing. Name the PRM to measure: prm=smollm2, prm=random"
        )
    check_source(config)
    if config.settings["prm"].get("score") == "logit_ratio":
        raise ConfigError(
            "prm.score=logit_ratio is no probability and can leave [0, 1], where neither a threshold nor calibration "
            "means anything. stage=evaluate_prm measures prm.score=softmax."
        )
    if isinstance(config.prm, OraclePRM):
        ours = config.benchmark.checksum()
        for path in config.evaluate_prm.runs:
            folder = path if path.is_dir() else path.parent
            if (theirs := provenance.read_provenance(folder).identity.checksums.get("benchmark")) != ours:
                raise ConfigError(
                    f"prm=oracle knows the solutions of this command's benchmark (sha256 {ours[:8]}), and {folder} is "
                    f"of another (sha256 {str(theirs)[:8]}). Name the benchmark that the data was collected on."
                )


def _compute_identity(config: RunConfig, choices: Mapping[str, str], checksums: Mapping[str, str]) -> Identity:
    """Return the identity of the result, which depends on the PRM and the data alone."""
    settings = _select_settings(config, choices)
    return Identity(settings, {**checksums, **compute_plugin_checksums(config.settings, settings)})


def _select_settings(config: RunConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    from codetool.stages.evaluate.run_identity import needs_vllm_server

    blocks = ("stage", "prm", "vllm") if needs_vllm_server(config.prm) else ("stage", "prm")
    return select_identity_settings(config, choices, blocks)


def _announce(
    config: RunConfig, choices: Mapping[str, str], data: PRMEvalDataset, path: Path, console: Console
) -> None:
    scores_by_step, examples = _read_scores(path), data.examples
    done = sum((example.task_id, example.node_id) in scores_by_step for example in examples)
    lines = (
        f"stage=evaluate_prm prm={choices['prm']} data: {describe_source(config)}",
        f"steps: {len(examples)} of {len(data.tasks)} tasks, scored already: {done}",
        f"results: {path}",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _read_scores(path: Path) -> dict[Key, float]:
    """Return the scores in the undamaged lines of a folder's journal; empty if it does not exist."""
    parsed = (journal.parse_record(line, SCORE_SHAPE) for _, line in journal.read_complete_lines(path / SCORES_FILE))
    return {(line["task_id"], line["node_id"]): line["score"] for line in parsed if not isinstance(line, str)}


async def _score(
    config: RunConfig, data: PRMEvalDataset, path: Path, console: Console, loggers: RunLoggers
) -> dict[str, str]:
    """Score the steps that have no line in the journal yet; return the error of each task that failed, by id."""
    from codetool.stages.scoring_progress import ScoringProgress

    scores_by_step = _read_scores(path)
    remaining = [
        group for group in data.groups if not all((e.task_id, e.node_id) in scores_by_step for e in group.examples)
    ]
    failures: dict[str, str] = {}
    if not remaining:
        return failures
    weights = await asyncio.to_thread(config.prm.weights)
    done = len(data.groups) - len(remaining)
    async with config.vllm.open([] if weights is None else [weights], path) as servers, config.prm.open(servers) as prm:
        if prm is None:
            raise ConfigError("stage=evaluate_prm: the PRM that prm= names judges nothing")
        progress = ScoringProgress(len(data.groups), done, console, "sibling groups", "steps", loggers)
        with Journal(path / SCORES_FILE) as scores, progress:
            waiting, unanswered = iter(remaining), UnansweredGroups(failures)
            await gather_or_cancel(
                _run_worker(waiting, prm, scores.append_all, progress.count, unanswered)
                for _ in range(min(config.concurrency, len(remaining)))
            )
    log.info("scored %d steps; the PRM computed %d tokens for them", progress.steps, progress.tokens)
    return failures


@record
class UnansweredGroups:
    """Errors of the tasks that could not be scored, and whether the PRM answers at all."""

    failures: dict[str, str]
    """Error by id of each such task."""
    answered: int = 0
    """Number of sibling groups with scores."""
    fruitless: int = 0
    """Number of sibling groups without an answer during whose attempts no other group got one either."""


async def _run_worker(
    waiting: Iterator[Siblings],
    prm: ProcessRewardModel,
    append: Callable[[Iterable[Mapping[str, Any]]], None],
    count: Callable[[int, int], None],
    unanswered: UnansweredGroups,
) -> None:
    """Score sibling groups until none is left. Errors of one task are recorded; errors of all tasks are raised."""
    for group in waiting:
        answered_before = unanswered.answered
        try:
            await _score_group(group, prm, append, count)
            unanswered.answered += 1
        except (ConfigError, MissingError, WriteError):
            raise
        except Exception as error:
            expected = isinstance(error, UnreachableError)
            log.error("%s: not scored: %s: %s", group.task.id, type(error).__name__, error, exc_info=not expected)
            unanswered.failures.setdefault(group.task.id, f"{type(error).__name__}: {error}")
            unanswered.fruitless += expected and unanswered.answered == answered_before
            if unanswered.fruitless >= MAX_UNANSWERED:
                raise


async def _score_group(
    group: Siblings,
    prm: ProcessRewardModel,
    append: Callable[[Iterable[Mapping[str, Any]]], None],
    count: Callable[[int, int], None],
) -> None:
    """Score siblings and append their lines to the journal, with one write."""
    steps = [node.step for node in group.nodes if node.step]
    executions = [node.execution for node in group.nodes if node.execution] if prm.sees_observation else []
    scores = await prm.score(group.task, group.path, steps, executions)
    append(
        {"task_id": example.task_id, "node_id": example.node_id, "score": value}
        for example, value in zip(group.examples, _check_scores(scores.values, group), strict=True)
    )
    count(len(steps), scores.tokens_computed)


def _check_scores(values: Sequence[float], group: Siblings) -> Sequence[float]:
    if len(values) != len(group.nodes) or not all(0 <= value <= 1 for value in values):
        raise CodeToolError(
            f"{group.task.id}, after step {len(group.path)}: the PRM's scores for {len(group.nodes)} steps are "
            f"{list(values)}, not a number in [0, 1] for each"
        )
    return values
