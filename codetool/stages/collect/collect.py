"""stage=collect: sample rollout trees for a benchmark's tasks and derive process data from them.

The trees are searched and journalled as by stage=evaluate. The process data are rewritten from the journals at the end
of every run, so that other settings of `collect` relabel the same trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.evaluation.result_records import parse_nodes
from codetool.evaluation.summary import RunSummary
from codetool.judges.endpoint_judge import NoJudge
from codetool.model_types import PolicyStep, ProcessExample
from codetool.process_data import examples, transcripts
from codetool.process_data.exports.tree_export import LabelledTree
from codetool.process_data.labels import choose_steps_to_drop, label_steps
from codetool.process_data.policy_steps import POLICY_STEPS_FILE, save_policy_steps
from codetool.process_data.rollouts import Rollout, estimate_steps
from codetool.process_data.transcripts import Transcript
from codetool.runs import journal
from codetool.stages.collect import collect_summary
from codetool.stages.collect.collect_summary import CollectSummary
from codetool.stages.collect.exports import write_exports
from codetool.stages.collect.leaf_outcomes import decide_outcomes
from codetool.stages.collect.policy_steps import PolicySteps
from codetool.stages.conclusion import ResultFolder
from codetool.stages.evaluate.run import run
from codetool.stages.run_outcome import RunOutcome
from codetool.types import Task

ROLLOUTS = "rollouts.jsonl"


def collect(
    config: RunConfig, choices: Mapping[str, str], console: Console, *, sweep: str | None = None, **cell: Any
) -> RunOutcome:
    """Collect process data and return the outcome, with the number of tasks that failed internally.

    A task fails in its search, or afterwards if the benchmark's check raises on one of its leaves. `sweep` and `cell`
    are passed to `run`. Raises CodeToolError.
    """
    if config.collect.leaf_success == "judge" and isinstance(config.judge, NoJudge):
        raise ConfigError(
            "collect.leaf_success=judge wants a judge: judge=openai judge.model=NAME judge.base_url=URL, or use "
            "collect.leaf_success=checked (the benchmark's own answers) or collect.leaf_success=executed (it ran)."
        )

    undecided: list[str] = []
    made: dict[str, int] = {}

    def conclude(target: ResultFolder, tasks: Sequence[Task], summary: RunSummary) -> None:
        collected = _write_process_data(config, choices["benchmark"], target.folder, tasks)
        undecided.extend(collected.failures)
        made.update(examples=collected.examples, transcripts=collected.transcripts, solved=collected.counts.solved)
        if sweep is None:
            collect_summary.print_collect_summary(collected, summary, target.folder, Console(), target.kept)

    outcome = run(config, choices, console, sweep=sweep, conclude=conclude, **cell)
    metrics = outcome.metrics and {**outcome.metrics, "process_data": made}
    return replace(outcome, failed=outcome.failed + len(undecided), metrics=metrics)


def _write_process_data(config: RunConfig, name: str, folder: Path, tasks: Sequence[Task]) -> CollectSummary:
    """Write all that follows from the trees; `name` is the benchmark's."""
    trees, tasks_by_id = TreeFile(folder / TREES), {task.id: task for task in tasks}
    outcomes = decide_outcomes(
        ((tasks_by_id[line["task_id"]], parse_nodes(line)) for line in trees.read_trees(tasks_by_id)), config, folder
    )
    kept = [task_id for task_id in tasks_by_id if task_id in outcomes.by_task]
    lines = (line | {"outcomes": outcomes.by_task[line["task_id"]]} for line in trees.read_trees(kept))
    journal.atomic_write(folder / ROLLOUTS, map(journal.encode_record, lines))
    rollouts = _Rollouts(folder / ROLLOUTS, tasks)
    collected = CollectSummary(outcomes.sources, failures=outcomes.failures)
    steps: list[tuple[str, str, bool | None]] = []
    dropped: set[tuple[str, str]] = set()
    for rollout in rollouts:
        labelled_steps = label_steps(rollout, config.collect)
        collected.counts.add(rollout, labelled_steps)
        if config.collect.keep_unsolved or any(rollout.outcomes.values()):
            steps += [(step.task_id, step.node.id, step.label) for step in labelled_steps]
        else:
            dropped |= {(step.task_id, step.node.id) for step in labelled_steps}
    collected.unsolved = len(dropped)
    if config.collect.balance:
        dropped |= choose_steps_to_drop(steps, config.seed)
        collected.dropped = len(dropped) - collected.unsolved
    examples.save_examples(folder / examples.PROCESS_FILE, _build_examples(rollouts, dropped, config, collected))
    transcripts.save_transcripts(folder / transcripts.TRANSCRIPTS_FILE, _build_transcripts(rollouts, config, collected))
    _write_policy_steps(rollouts, config, folder, collected)
    collected.exports = write_exports(config, name, folder, lambda: _label_trees(rollouts, dropped, config))
    collect_summary.write_collect_summary(collected, folder, config.figures)
    return collected


def _build_examples(
    rollouts: Iterable[Rollout], dropped: Set[tuple[str, str]], config: RunConfig, collected: CollectSummary
) -> Iterator[ProcessExample]:
    """Yield the kept examples and count them in `collected`."""
    for rollout in rollouts:
        for example in examples.make_process_examples(
            rollout.task, label_steps(rollout, config.collect), config.collect.prompt
        ):
            if (example.task_id, example.node_id) not in dropped:
                collected.examples += 1
                yield example


def _build_transcripts(
    rollouts: Iterable[Rollout], config: RunConfig, collected: CollectSummary
) -> Iterator[Transcript]:
    """Yield the transcripts and count them in `collected`."""
    for rollout in rollouts:
        estimates = estimate_steps(rollout, config.collect)
        paths = transcripts.make_transcripts(rollout, config.policy.prompt, config.collect.transcripts, estimates)
        collected.transcripts += len(paths)
        yield from paths


def _write_policy_steps(
    rollouts: Iterable[Rollout], config: RunConfig, folder: Path, collected: CollectSummary
) -> None:
    """Write the steps as the policy drew them and count them in `collected`."""

    def count(trees: Iterable[Sequence[PolicyStep]]) -> Iterator[Sequence[PolicyStep]]:
        for tree in trees:
            collected.policy_steps += len(tree)
            collected.policy_steps_with_tokens += sum(bool(step.tokens) for step in tree)
            yield tree

    drawn = PolicySteps(folder, config.policy.prompt, config.policy.sampling, config.collect)
    save_policy_steps(folder / POLICY_STEPS_FILE, count(drawn.read_trees(rollouts)), config.policy.sampling)


def _label_trees(
    rollouts: Iterable[Rollout], dropped: Set[tuple[str, str]], config: RunConfig
) -> Iterator[LabelledTree]:
    """Yield the trees with their process examples, for the exports."""
    for index, rollout in enumerate(rollouts):
        steps = label_steps(rollout, config.collect)
        all_examples = tuple(examples.make_process_examples(rollout.task, steps, config.collect.prompt))
        yield LabelledTree(
            index,
            rollout,
            all_examples,
            tuple(step for step in all_examples if (step.task_id, step.node_id) not in dropped),
            left_out=not (config.collect.keep_unsolved or any(rollout.outcomes.values())),
        )


class _Rollouts:
    """The rollouts of a file, read again by each iteration to save memory."""

    def __init__(self, file: Path, tasks: Sequence[Task]) -> None:
        self._file, self._tasks = file, {task.id: task for task in tasks}

    def __iter__(self) -> Iterator[Rollout]:
        for line in journal.read_records(self._file):
            yield Rollout(self._tasks[line["task_id"]], parse_nodes(line), line["outcomes"])
