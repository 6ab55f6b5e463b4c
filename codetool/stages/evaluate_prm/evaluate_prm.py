"""stage=evaluate_prm: score steps with known values by a PRM, and compare the scores with these values.

Every score is journalled in `scores.jsonl`, so that the same command resumes a stopped run.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass as record
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, ConfigError
from codetool.prm.ensemble import list_members
from codetool.prm.none import NoPRM
from codetool.prm.oracle import OraclePRM
from codetool.process_data.agentprocessbench import AgentProcessBench
from codetool.runs import damaged_lines, provenance
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.runs.provenance import record_session
from codetool.stages import run_folder
from codetool.stages.evaluate_prm.prm_eval_source import check_source, describe_source, load_source
from codetool.stages.evaluate_prm.score_siblings import SCORE_SHAPE, SCORES_FILE, read_scores, score_siblings
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
    from codetool.models.hub_model import HubModel
    from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset

log = logging.getLogger(__name__)


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


@record(frozen=True)
class PRMRun:
    """The checked inputs of an evaluation."""

    config: RunConfig
    choices: Mapping[str, str]
    data: PRMEvalDataset
    models: Mapping[str, HubModel]
    """Models named by their hub names, by group."""
    identity: Identity
    path: Path
    """The run folder."""
    warnings: Sequence[str]
    """Warnings of the overlap between the data and the PRM's training data."""


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
    from codetool.stages.evaluate.run import write_config

    run = _check_run(config, choices)
    config, path = run.config, run.path
    if sweep is None:
        _announce(run, console)
    if config.dry_run:
        return _run_dry(run, console)
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, sweep is not None, (SCORES_FILE,))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(sweep)))
        damaged_lines.set_damaged_lines_aside(path / SCORES_FILE, SCORE_SHAPE)
        write_config(config, path)
        stack.enter_context(_record_session(run))
        for line in run.warnings:
            log.warning("%s", line)
        named = [*run.data.benchmarks, choices["prm"]]
        started = start_stage_loggers(
            config, choices, path, named, "sibling_groups/done", sweep=sweep, label=label, upload=upload
        )
        return _measure(run, stack.enter_context(started), console, quiet=sweep is not None)


def _check_run(config: RunConfig, choices: Mapping[str, str]) -> PRMRun:
    """Check the settings and read the data. Raises ConfigError and MissingError."""
    _check_config(config)
    data = load_source(config)
    parent, stem = config.outputs / config.stage, f"{'+'.join(data.benchmarks)}-{choices['prm']}"
    config = keep_recorded_commits(config, parent, stem, _select_settings(config, choices))
    checksums, models = dict(data.checksums), find_hub_models(config, ("prm",))
    if (prm := config.prm.checksum()) is not None:
        checksums["prm"] = prm
    identity = _compute_identity(config, choices, checksums)
    path = run_folder.select_folder(parent / f"{stem}-{identity.digest}", config.fresh)
    return PRMRun(config, choices, data, models, identity, path, _describe_overlap(config, data))


def _run_dry(run: PRMRun, console: Console) -> RunOutcome:
    from codetool.stages.evaluate.announcement import print_other_code

    print_downloads(run.models, console, "would be downloaded")
    print_other_code(run.config, run.path, console)
    for line in run.warnings:
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return RunOutcome(run.path)


def _record_session(run: PRMRun) -> AbstractContextManager[object]:
    from codetool.config.invocation import get_command

    settings, done = run.config.settings, len(read_scores(run.path))
    return record_session(run.path, run.identity, settings, get_command(), done=done, models=record_models(run.models))


def _measure(run: PRMRun, loggers: RunLoggers, console: Console, *, quiet: bool) -> RunOutcome:
    """Score all steps, write the metrics, and return the outcome."""
    from codetool.stages.evaluate_prm import prm_eval_summary  # here: importing numpy would delay error messages

    config, path = run.config, run.path
    download_models(run.models)
    with record_faults(path):
        failures = asyncio.run(score_siblings(config, run.data, path, console, loggers))
    measured = run.data.without(failures)
    if not measured.groups:
        raise CodeToolError(f"no task could be scored; the first failure: {next(iter(failures.values()))}")
    summary = Console(quiet=quiet)
    prm = run.choices["prm"]
    prm_eval_summary.write_prm_summary(config, measured, read_scores(path), path, summary, failures, prm)
    data_used = [describe_process_data(source, is_input=True) for source in config.evaluate_prm.runs]
    content = build_prm_content(path, [*data_used, *describe_used_adapters(*list_members(config.prm))])
    status = log_result(loggers, content, quiet=quiet)
    metrics = json.loads((path / prm_eval_summary.METRICS_FILE).read_text())
    return RunOutcome(path, len(failures), metrics=metrics, tracked=status)


def _describe_overlap(config: RunConfig, data: PRMEvalDataset) -> list[str]:
    """Return warnings of the overlap between the data and the PRM's training data."""
    from codetool.models.locate import resolve_path

    paths = [resolve_path("prm", getattr(member, "path", None)) for member in list_members(config.prm)]
    trained = [tasks for path in paths if path is not None and (tasks := trained_on.read_training_tasks(path))]
    return [
        f"evaluate_prm.{'runs' if config.evaluate_prm.runs else 'data'}: {line}"
        for tasks in trained
        for line in trained_on.describe_overlap(tasks, data.tasks)
    ]


def _check_config(config: RunConfig) -> None:
    if isinstance(config.prm, NoPRM):
        raise ConfigError(
            "stage=evaluate_prm: prm=none judges nothing. Name the PRM to measure: prm=smollm2, prm=random"
        )
    check_source(config)
    if any(getattr(member, "score", None) == "logit_ratio" for member in list_members(config.prm)):
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


def _announce(run: PRMRun, console: Console) -> None:
    scores_by_step, examples = read_scores(run.path), run.data.examples
    done = sum((example.task_id, example.node_id) in scores_by_step for example in examples)
    lines = (
        f"stage=evaluate_prm prm={run.choices['prm']} data: {describe_source(run.config)}",
        f"steps: {len(examples)} of {len(run.data.tasks)} tasks, scored already: {done}",
        f"results: {run.path}",
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
