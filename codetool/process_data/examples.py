"""Read and write `process.jsonl`: labelled steps, one JSON line each, to train and evaluate PRMs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from pydantic import TypeAdapter

from codetool.interfaces import ScoringPrompt
from codetool.model_types import ProcessExample
from codetool.process_data import jsonl_reader
from codetool.process_data.labels import LabelledStep
from codetool.runs import journal
from codetool.types import Node, Task

PROCESS_FILE = "process.jsonl"
_FIELDS = tuple(field.name for field in fields(ProcessExample))
_EXAMPLE_TYPE: TypeAdapter[ProcessExample] = TypeAdapter(ProcessExample)


def load_examples(paths: Sequence[Path]) -> list[ProcessExample]:
    """Return the examples of all files in order; a folder stands for its `process.jsonl`.

    Raises MissingError for a missing or empty file, and ConfigError, which names file and line, for an invalid line.
    """
    return jsonl_reader.read_records(paths, PROCESS_FILE, _EXAMPLE_TYPE)


def save_examples(path: Path, examples: Iterable[ProcessExample]) -> None:
    """Replace the file's content by the examples; if the process is killed, the old or the new file remains."""
    lines = ({name: getattr(example, name) for name in _FIELDS} for example in examples)
    journal.atomic_write(path, map(journal.encode_record, lines))


def number_trees(examples: Iterable[ProcessExample]) -> list[int]:
    """Return for each example the number of its tree, from 0; a file holds the examples of a tree one after the other.

    Trees of one task in several files are told apart, since a node id occurs once in a tree.
    """
    numbers: list[int] = []
    trees: dict[str, tuple[int, set[str]]] = {}
    count = 0
    for example in examples:
        number, nodes = trees.get(example.task_id, (-1, set[str]()))
        if number < 0 or example.node_id in nodes:
            number, nodes = trees[example.task_id] = count, set()
            count += 1
        nodes.add(example.node_id)
        numbers.append(number)
    return numbers


def make_process_examples(task: Task, steps: Iterable[LabelledStep], prompt: ScoringPrompt) -> list[ProcessExample]:
    """Return a process example for each labelled step of a task: the step, its labels and the PRM's prompt prefix."""
    prefixes: dict[str, tuple[dict[str, str], ...]] = {}
    return [_make_process_example(task, step, prompt, prefixes) for step in steps]


def _make_process_example(
    task: Task, step: LabelledStep, prompt: ScoringPrompt, prefixes: dict[str, tuple[dict[str, str], ...]]
) -> ProcessExample:
    node = step.node
    assert node.step is not None
    if step.group not in prefixes:
        prefixes[step.group] = tuple(prompt.prefix_messages(task, node.path[:-1]))
    return ProcessExample(
        task_id=task.id,
        node_id=node.id,
        group=step.group,
        prefix=prefixes[step.group],
        step=node.step.text,
        executed=step.executed,
        soft=step.estimate.soft,
        hard=step.estimate.hard,
        latent=step.estimate.latent,
        label=step.label,
        multiplicity=node.multiplicity,
        result=_render_result(task, node, prompt),
    )


def _render_result(task: Task, node: Node, prompt: ScoringPrompt) -> str:
    """Return what a prompt adds to the text of a step once it ran."""
    step, path = node.step, node.path[:-1]
    assert step is not None
    before, after = (prompt.messages(task, path, step, ran)[-1]["content"] for ran in (None, node.execution))
    return after.removeprefix(before)
