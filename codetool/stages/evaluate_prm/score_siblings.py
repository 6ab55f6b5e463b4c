"""Score sibling steps with a PRM, each score journalled at once, so that a stopped run is resumed.

The PRM is called as in a search: with the task, the path and all siblings at once, and with their observations if it
uses them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from codetool.concurrency import gather_or_cancel
from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError, WriteError
from codetool.interfaces import ProcessRewardModel
from codetool.prm.ensemble import list_weights
from codetool.runs import journal
from codetool.runs.journal import Journal
from codetool.tracking.run_loggers import RunLoggers

if TYPE_CHECKING:
    from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset, Siblings

SCORES_FILE = "scores.jsonl"
SCORE_SHAPE = {"task_id": str, "node_id": str, "score": (int, float)}
MAX_UNANSWERED = 3
"""Number of sibling groups without an answer, while no other got one, after which no further one is scored."""

Key = tuple[str, str]
"""Task id and node id."""

log = logging.getLogger(__name__)


def read_scores(path: Path) -> dict[Key, float]:
    """Return the scores in the undamaged lines of a folder's journal; empty if it does not exist."""
    parsed = (journal.parse_record(line, SCORE_SHAPE) for _, line in journal.read_complete_lines(path / SCORES_FILE))
    return {(line["task_id"], line["node_id"]): line["score"] for line in parsed if not isinstance(line, str)}


async def score_siblings(
    config: RunConfig, data: PRMEvalDataset, path: Path, console: Console, loggers: RunLoggers
) -> dict[str, str]:
    """Score the steps that have no line in the journal yet; return the error of each task that failed, by id."""
    from codetool.stages.scoring_progress import ScoringProgress

    scores_by_step = read_scores(path)
    remaining = [
        group for group in data.groups if not all((e.task_id, e.node_id) in scores_by_step for e in group.examples)
    ]
    failures: dict[str, str] = {}
    if not remaining:
        return failures
    weights = await asyncio.to_thread(list_weights, config.prm)
    done = len(data.groups) - len(remaining)
    async with config.vllm.open(weights, path) as servers, config.prm.open(servers) as prm:
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


@dataclass
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
