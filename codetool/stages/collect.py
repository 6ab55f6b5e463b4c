"""stage=collect: rollout trees over a benchmark's tasks, and the process data that they give.

The rollouts are those of stage=evaluate, journals and all. What is learnt from them is written anew from the journals
at the end of every run, so other settings of `collect` relabel the same trees.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool import journal
from codetool.config import RunConfig
from codetool.errors import ConfigError
from codetool.evaluation.judge import NoJudge
from codetool.evaluation.records import nodes_of
from codetool.evaluation.summary import Summary
from codetool.process_data import examples, transcripts
from codetool.process_data.labels import dropped_for_balance, labelled
from codetool.process_data.reference_export import ReferenceExport
from codetool.process_data.rollouts import Rollout
from codetool.process_data.transcripts import Transcript
from codetool.stages import collect_summary
from codetool.stages.collect_summary import Collected
from codetool.stages.outcomes import decided
from codetool.stages.run import run
from codetool.types import ProcessExample, Task

ROLLOUTS = "rollouts.jsonl"
REFERENCE = "reference"
"""Folder of the reference implementation's files."""


def collect(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """The number of tasks that failed for our own reasons, after the others' trees have become process data.

    Raises CodeToolError.
    """
    if config.collect.leaf_success == "judge" and isinstance(config.judge, NoJudge):
        raise ConfigError(
            "collect.leaf_success=judge wants a judge: judge=openai judge.model=NAME judge.base_url=URL, or use "
            "collect.leaf_success=checked (the benchmark's own answers) or collect.leaf_success=executed (it ran)."
        )

    def conclude(folder: Path, tasks: Sequence[Task], summary: Summary) -> None:
        collected = _write(config, choices["benchmark"], folder, tasks)
        collect_summary.show(collected, summary, folder, Console())

    return run(config, choices, console, conclude=conclude).failed


def _write(config: RunConfig, name: str, folder: Path, tasks: Sequence[Task]) -> Collected:
    """Write all that follows from the trees; `name` is the benchmark's."""
    trees = _Trees(folder / "trees.jsonl", tasks)
    outcomes = decided(((task, nodes_of(line)) for task, line in trees), config, folder)
    lines = (line | {"outcomes": outcomes.by_task[task.id]} for task, line in trees)
    journal.replace(folder / ROLLOUTS, map(journal.encode, lines))
    rollouts = _Rollouts(folder / ROLLOUTS, tasks)
    collected = Collected(outcomes.sources)
    steps: list[tuple[str, str, bool | None]] = []
    dropped: set[tuple[str, str]] = set()
    for rollout in rollouts:
        found = labelled(rollout, config.collect)
        collected.counts.add(rollout, found)
        if config.collect.keep_unsolved or any(rollout.outcomes.values()):
            steps += [(step.task_id, step.node.id, step.label) for step in found]
        else:
            dropped |= {(step.task_id, step.node.id) for step in found}
    collected.unsolved = len(dropped)
    if config.collect.balance:
        dropped |= dropped_for_balance(steps, config.seed)
        collected.dropped = len(dropped) - collected.unsolved
    examples.write(folder / examples.NAME, _examples(rollouts, dropped, config, collected))
    transcripts.write(folder / transcripts.NAME, _transcripts(rollouts, config, collected))
    shutil.rmtree(folder / REFERENCE, ignore_errors=True)  # its labels may be others by now
    if config.export == "reference":
        _export(rollouts, dropped, config, folder / REFERENCE, name)
    collect_summary.write(collected, folder)
    return collected


def _examples(
    rollouts: Iterable[Rollout], dropped: Set[tuple[str, str]], config: RunConfig, collected: Collected
) -> Iterator[ProcessExample]:
    """The examples that are kept, counted."""
    for rollout in rollouts:
        for example in examples.examples(rollout.task, labelled(rollout, config.collect), config.collect.prompt):
            if (example.task_id, example.node_id) not in dropped:
                collected.examples += 1
                yield example


def _transcripts(rollouts: Iterable[Rollout], config: RunConfig, collected: Collected) -> Iterator[Transcript]:
    """The transcripts, counted."""
    for rollout in rollouts:
        for transcript in transcripts.transcripts(rollout, config.policy.prompt, config.collect.transcripts):
            collected.transcripts += 1
            yield transcript


def _export(
    rollouts: Iterable[Rollout], dropped: Set[tuple[str, str]], config: RunConfig, folder: Path, name: str
) -> None:
    """Write the reference implementation's files."""
    export = ReferenceExport(folder, name, config.policy.prompt, config.collect.prompt, config.collect.estimator)
    for rollout in rollouts:
        found = examples.examples(rollout.task, labelled(rollout, config.collect), config.collect.prompt)
        export.add(rollout, found, [each for each in found if (each.task_id, each.node_id) not in dropped])
    export.finish()


class _Trees:
    """The lines of `trees.jsonl` in the order of the tasks, without those of tasks that were not asked for.

    Only their places in the file are kept: many trees are more than memory holds well.
    """

    def __init__(self, file: Path, tasks: Sequence[Task]) -> None:
        self._file, self._tasks = file, tasks
        self._places: dict[str, int] = {}
        place = 0
        with file.open("rb") as lines:
            for line in lines:
                self._places[json.loads(line)["task_id"]] = place
                place += len(line)

    def __iter__(self) -> Iterator[tuple[Task, dict[str, Any]]]:
        with self._file.open("rb") as lines:
            for task in self._tasks:
                if task.id in self._places:
                    lines.seek(self._places[task.id])
                    yield task, json.loads(lines.readline())


class _Rollouts:
    """The rollouts of a file, read anew each time."""

    def __init__(self, file: Path, tasks: Sequence[Task]) -> None:
        self._file, self._tasks = file, {task.id: task for task in tasks}

    def __iter__(self) -> Iterator[Rollout]:
        for line in journal.read(self._file):
            yield Rollout(self._tasks[line["task_id"]], nodes_of(line), line["outcomes"])
