"""Decide for each leaf of a rollout tree whether it succeeded, by answer checker, judge or execution status."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codetool.answers.final_answer import extract_path_answer
from codetool.config.run_config import RunConfig
from codetool.evaluation.error_taxonomy import TaskError, make_internal_error
from codetool.evaluation.score_task import check_answer
from codetool.interfaces import AbandoningSearch
from codetool.judges.cases import JudgeInput
from codetool.judges.endpoint_judge import NoJudge
from codetool.judges.votes import VERDICTS
from codetool.process_data.rollouts import Rollout
from codetool.stages.fault_journal import record_faults
from codetool.stages.judge.judge_run import summarize_verdicts
from codetool.types import Node, Task

log = logging.getLogger(__name__)


@dataclass
class LeafOutcomes:
    """Outcomes by task and leaf, and the number of leaves that each source decided.

    A leaf that a search left before its path ended has no outcome.
    """

    by_task: dict[str, dict[str, bool]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    """Number of leaves by source: `unfinished` (or given up), `checked`, `judge`, `executed`."""
    questions: list[tuple[str, JudgeInput]] = field(default_factory=list)
    """Leaf id and judge input of each leaf that the judge has yet to decide."""
    failures: dict[str, TaskError] = field(default_factory=dict)
    """Errors by id of the tasks with an undecided leaf; these tasks are in no other field."""

    def decide(self, task: Task, leaf: Node, success: bool, source: str) -> None:
        """Record the outcome of a leaf."""
        self.by_task.setdefault(task.id, {})[leaf.id] = success
        self.sources[source] += 1

    def add(self, other: LeafOutcomes) -> None:
        """Add the outcomes of another task."""
        self.by_task |= other.by_task
        self.sources += other.sources
        self.questions += other.questions


def decide_outcomes(trees: Iterable[tuple[Task, tuple[Node, ...]]], config: RunConfig, folder: Path) -> LeafOutcomes:
    """Decide the outcome of every leaf. Raises what the judge's client raises; votes until then are kept."""
    outcomes = LeafOutcomes()
    for task, nodes in trees:
        of_task = LeafOutcomes({task.id: {}})
        try:
            for leaf in Rollout(task, nodes, {}).find_leaves():
                _decide_leaf(task, leaf, config, of_task)
        except (Exception, SystemExit) as error:  # of the benchmark's check; the other tasks' data are kept
            log.error("%s: the outcome of a leaf could not be decided", task.id, exc_info=error)
            outcomes.failures[task.id] = make_internal_error(error)
        else:
            outcomes.add(of_task)
    if outcomes.questions:
        leaves = [case for _, case in outcomes.questions]
        with record_faults(folder):
            judgements = asyncio.run(config.judge.judge(leaves, folder / VERDICTS, config.seed))
        summarize_verdicts(config.judge, judgements)
        for (leaf_id, case), judgement in zip(outcomes.questions, judgements, strict=True):
            outcomes.by_task[case.task_id][leaf_id] = judgement.solved
            outcomes.sources["judge"] += 1
    return outcomes


def _decide_leaf(task: Task, leaf: Node, config: RunConfig, outcomes: LeafOutcomes) -> None:
    """Decide the outcome of a leaf, or add the leaf to the judge's questions."""
    if not leaf.finished:
        given_up = isinstance(config.search, AbandoningSearch) and config.search.is_abandoned(leaf)
        if given_up or leaf.depth >= config.search.depth:
            outcomes.decide(task, leaf, False, "unfinished")
        return
    answer = extract_path_answer(leaf)
    if config.collect.leaf_success == "checked":
        checked = check_answer(config.benchmark, task, answer)
        if checked is not None:
            outcomes.decide(task, leaf, checked, "checked")
            return
    if config.collect.leaf_success == "executed" or isinstance(config.judge, NoJudge):
        outcomes.decide(task, leaf, leaf.spot > 0, "executed")
    else:
        outcomes.questions.append((leaf.id, JudgeInput.from_path(task, leaf)))


def describe_sources(sources: Counter[str]) -> Iterator[str]:
    """Yield a description of each source with the number of leaves that it decided."""
    meanings = {
        "checked": "by the checked answer",
        "judge": "by the judge",
        "executed": "by whether their last step ran",
        "unfinished": "unfinished at the depth limit or given up, so failed",
    }
    for source, meaning in meanings.items():
        if sources[source]:
            yield f"{sources[source]:,} {meaning}"
