"""stage=judge: judge existing answers, of a run or of another system, and compare them with a reference.

No task is run again. Every vote is journalled in `votes.jsonl` of the result's own folder, so that the same command
resumes a stopped judging; the judged run is not changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.evaluation import judged_results
from codetool.evaluation.summary import RunSummary, encode_summary, summarize_results
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import Comparison, NoJudge
from codetool.judges.votes import VOTE_SHAPE, VOTES_FILE
from codetool.runs import damaged_lines, journal
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.runs.provenance import count_results_by_code, record_session
from codetool.runs.repeats import name_repeat
from codetool.stages import run_folder
from codetool.stages.estimates.estimate import describe_estimate
from codetool.stages.estimates.vote_estimate import estimate_votes
from codetool.stages.evaluate.announcement import print_other_code
from codetool.stages.evaluate.run import write_config
from codetool.stages.evaluate.summary_display import build_groups_table, build_metrics_table, describe_judging
from codetool.stages.fault_journal import describe_faults, read_faults, record_faults
from codetool.stages.judge.answer_source import AnswerSource, load_answers
from codetool.stages.judge.judge_run import show_vote_progress, summarize_verdicts
from codetool.stages.logged_run import log_result, start_stage_loggers
from codetool.stages.run_log import choose_level, log_to_file
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.wandb_content import build_judge_content
from codetool.tracking.run_loggers import RunLoggers

FILES = (judged_results.JUDGED_FILE, VOTES_FILE, "metrics.json", "config.yaml", "log.txt")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class JudgeStageConfig:
    """Settings of stage=judge."""

    folder: Path | None
    """Run folder whose answers are judged, or ToolBench's converted answers: a file or a folder of such files."""
    reference: Path | None
    """Run folder or converted answers to compare with; without it there is no SoWR."""
    ids: Path | None
    """JSON file of the requested query ids; None for all of the run or file."""


def judge(
    config: RunConfig,
    choices: Mapping[str, str],
    console: Console,
    *,
    sweep: str | None = None,
    label: str = "",
    upload: bool = True,
    **_: Any,
) -> RunOutcome:
    """Judge every answer, write the result files and return the outcome.

    If `sweep` is the name of a sweep and `label` its cell, only warnings are printed. Raises CodeToolError; votes until
    then are kept.
    """
    answers, reference = _load_answers(config)
    checksums = {"judged": answers.digest} | ({"reference": reference.digest} if reference else {})
    if config.judge_stage.ids is not None:
        checksums["ids"] = hashlib.sha256(json.dumps(answers.asked).encode()).hexdigest()
    identity = _compute_identity(config, choices, checksums)
    name = f"{answers.name}-{choices['judge']}-{identity.digest}"
    path = run_folder.select_folder(config.outputs / config.stage / name, config.fresh)
    if sweep is None:
        _announce(choices, answers, reference, path, console)
    if config.dry_run:
        estimate = estimate_votes(config, path, *_pair_inputs(answers, reference))
        for line in describe_estimate(estimate):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        print_other_code(config, path, console)
        return RunOutcome(path)
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, sweep is not None, (judged_results.JUDGED_FILE, VOTES_FILE))
        stack.enter_context(log_to_file(path / "log.txt", console, choose_level(sweep)))
        damaged_lines.set_damaged_lines_aside(path / VOTES_FILE, VOTE_SHAPE)
        write_config(config, path)
        stack.enter_context(record_session(path, identity, config.settings, get_command()))
        named = [answers.name, choices["judge"]]
        started = start_stage_loggers(
            config, choices, path, named, "votes/done", sweep=sweep, label=label, upload=upload
        )
        loggers = stack.enter_context(started)
        with record_faults(path):
            lines, counts = _judge_answers(config, answers, reference, path, console, loggers)
        summary = _write_summary(config, answers, reference, lines, counts, path)
        _print_summary(summary, path, Console(quiet=sweep is not None))
        status = log_result(loggers, build_judge_content(path), quiet=sweep is not None)
    metrics = json.loads((path / "metrics.json").read_text())
    return RunOutcome(path, tasks=tuple(answers.asked), metrics=metrics, tracked=status)


def _load_answers(config: RunConfig) -> tuple[AnswerSource, AnswerSource | None]:
    """Load the answers and the reference's. Raises ConfigError if the options name no answers or no judge."""
    settings: JudgeStageConfig = config.judge_stage
    if isinstance(config.judge, NoJudge):
        raise ConfigError("stage=judge: judge=none judges nothing. Name one: judge=stabletoolbench judge.model=NAME")
    if settings.folder is None:
        raise ConfigError(
            "judge_stage.folder is not set. Name a run folder or a file of ToolBench's converted answers: "
            "judge_stage.folder=outputs/evaluate/NAME"
        )
    config.judge.build_vote_settings(config.seed)  # raises for a judge without a model, before anything is read
    answers = load_answers(settings.folder, "judge_stage.folder", config.limit, settings.ids)
    if not answers.asked:
        raise ConfigError(f"judge_stage.folder={settings.folder} holds no answer yet")
    if settings.reference is None:
        return answers, None
    reference = load_answers(settings.reference, "judge_stage.reference", None)
    reference = reference.repeat_first_answers(answers.get_originals())
    _refuse_another_benchmark(answers, reference, settings.reference)
    return answers, reference


def _refuse_another_benchmark(answers: AnswerSource, reference: AnswerSource, reference_path: Path) -> None:
    """Raise ConfigError if the reference was not asked all queries, or has another query with the same id."""
    reference_ids = {*reference.asked}
    if unknown_ids := [name for name in answers.asked if name not in reference_ids]:
        raise ConfigError(
            f"judge_stage.reference={reference_path} was not asked {len(unknown_ids)} of the "
            f"{len(answers.asked)} queries, such as {unknown_ids[0]}: they would all count as won. Run "
            "it on them, or judge fewer: limit=N or judge_stage.ids=FILE."
        )
    both = [name for name in answers.asked if name in answers.inputs and name in reference.inputs]
    if not both:
        raise ConfigError(
            f"judge_stage.reference={reference_path} has answered none of the {len(answers.asked)} queries asked for."
        )
    for name in both:
        if answers.inputs[name].query.strip() != reference.inputs[name].query.strip():
            raise ConfigError(
                f"judge_stage.reference={reference_path} has another query {name!r} than the judged answers, so "
                "theirs cannot be compared. Name a run of the same benchmark and group."
            )


def _compute_identity(config: RunConfig, choices: Mapping[str, str], checksums: Mapping[str, str]) -> Identity:
    """Return the identity of the result, which depends on the judge and the answers alone."""
    settings = select_identity_settings(config, choices, ("stage", "seed", "judge"))
    if "reference" in checksums:
        settings["pairwise"] = config.settings["judge"].get("pairwise")
    return Identity(settings, {**checksums, **compute_plugin_checksums(config.settings, ("judge",))})


def _announce(
    choices: Mapping[str, str], answers: AnswerSource, reference: AnswerSource | None, path: Path, console: Console
) -> None:
    reference_part = f" reference: {reference.name}" if reference else ""
    missing_in_reference = f" (reference: {_count_missing(answers, reference)})" if reference else ""
    lines = (
        f"stage=judge judge={choices['judge']} answers: {answers.name}{reference_part}",
        f"tasks: {len(answers.asked)}, without a result: {_count_missing(answers, answers)}{missing_in_reference}",
        f"results: {path}",
        *answers.notes,
        *(reference.notes if reference else ()),
    )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _count_missing(answers: AnswerSource, system: AnswerSource) -> int:
    """Return the number of requested tasks that a system has no answer to."""
    return sum(name not in system.inputs for name in answers.asked)


def _pair_inputs(answers: AnswerSource, reference: AnswerSource | None) -> tuple[list[JudgeInput], list[JudgeInput]]:
    """Return what is judged of each requested task, and of the reference's answers to them."""
    own = [answers.get_input(name) for name in answers.asked]
    return own, [reference.get_input(case.task_id, case.query) for case in own] if reference else []


def _judge_answers(
    config: RunConfig,
    answers: AnswerSource,
    reference: AnswerSource | None,
    path: Path,
    console: Console,
    loggers: RunLoggers,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Request the missing votes, write `judged.jsonl`, and return its lines and the judge's counts."""
    judged_results.delete_judged_lines(path)
    file, seed = path / VOTES_FILE, config.seed
    own, other = _pair_inputs(answers, reference)
    with show_vote_progress(
        config.judge, map(config.judge.build_vote_requests, (*own, *other)), path, seed, console, loggers
    ) as count:
        all_judgements = asyncio.run(config.judge.judge([*own, *other], file, seed, count))
    judgements, others = all_judgements[: len(own)], all_judgements[len(own) :]
    lines = [judged_results.build_judged_line(case, item) for case, item in zip(own, judgements, strict=True)]
    compared: list[Comparison] = []
    if reference:
        pairs, both = list(zip(own, other, strict=True)), list(zip(judgements, others, strict=True))
        with show_vote_progress(
            config.judge, map(config.judge.build_comparison_requests, pairs, both), path, seed, console
        ) as count:
            compared = asyncio.run(config.judge.compare(pairs, both, file, seed, count))
        parts = map(judged_results.build_comparison_fields, other, others, compared)
        lines = [line | part for line, part in zip(lines, parts, strict=True)]
    judged_results.write_judged_lines(path, lines)
    judge_counts = summarize_verdicts(config.judge, all_judgements, [vote for item in compared for vote in item.votes])
    return lines, judge_counts


def _write_summary(
    config: RunConfig,
    answers: AnswerSource,
    reference: AnswerSource | None,
    lines: Sequence[Mapping[str, Any]],
    judge_counts: Mapping[str, Any],
    path: Path,
) -> RunSummary:
    """Write `metrics.json` and return the summary. Every requested task has a line, also one without an answer."""
    bare: dict[str, Any] = {"error": None, "metrics": {}}
    named = [(name_repeat(line["task_id"], answers.originals), line) for line in lines]
    results = [
        judged_results.join_votes({**bare, **name, "finished": False, "answer": line["answer"]}, line)
        for name, line in named
    ]
    groups = answers.get_groups()
    summary = summarize_results(
        results,
        len(results),
        seed=config.seed,
        templates=answers.templates,
        groups=groups,
        originals=answers.get_originals(),
    )
    tasks = {
        "asked": len(results),
        "missing": _count_missing(answers, answers),
        "answered": summary.answered,
    }
    content = {"metrics": summary.metrics, "tasks": tasks, "judge": dict(judge_counts), "notes": list(answers.notes)}
    content["code"] = count_results_by_code(path)
    content |= {"faults": faults} if (faults := read_faults(path)) else {}
    if summary.groups:
        content["groups"] = encode_summary(summary)["groups"]
    if reference:
        content["reference"] = {"name": reference.name, "missing": _count_missing(answers, reference)}
    journal.atomic_write(path / "metrics.json", [json.dumps(content, indent=2).encode() + b"\n"])
    return summary


def _print_summary(summary: RunSummary, path: Path, console: Console) -> None:
    console.print(build_metrics_table(summary))
    if summary.groups:
        console.print(build_groups_table(summary))
    for line in (
        f"{summary.asked} tasks asked for, {summary.answered} with an answer",
        *describe_judging(summary, path),
        *describe_faults(path),
    ):
        console.print(line, highlight=False, soft_wrap=True)
    files = [name for name in FILES if (path / name).is_file()]
    console.print(f"files in {path}: {', '.join(files)}", highlight=False, soft_wrap=True)
