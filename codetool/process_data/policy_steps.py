"""Read and write `policy_steps.jsonl`: the steps of rollout trees as the policy drew them, to train policies on.

A line holds the steps of one tree. The messages of their prompts, which mostly are the same, stand in it once:

    {"task_id": …, "sampling": {"temperature": …, "top_p": …, "max_tokens": …}, "messages": [{"role", "content"}, …],
     "steps": [{"node_id", "group", "depth", "prompt": [indices of messages], "completion", "ending", …}, …]}

`sampling` is what the steps were drawn with. `log_probabilities` of a step are those of its `tokens` under the policy's
own distribution, at temperature 1 and without a nucleus, whatever the sampling was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass as schema

from codetool.model_types import PolicyStep, Sampling
from codetool.process_data import jsonl_reader
from codetool.runs import journal

POLICY_STEPS_FILE = "policy_steps.jsonl"
_OPTIONAL = ("tokens", "log_probabilities")
"""Fields that a record has only if they were recorded."""


def load_policy_steps(paths: Sequence[Path]) -> list[PolicyStep]:
    """Return the steps of all files in order; a folder stands for its `policy_steps.jsonl`.

    Raises MissingError for a missing or empty file, and ConfigError, which names file and line, for an invalid line.
    """
    trees = jsonl_reader.read_records(paths, POLICY_STEPS_FILE, _TREE_TYPE)
    return [step for number, tree in enumerate(trees) for step in _decode_tree(tree, number)]


def save_policy_steps(path: Path, trees: Iterable[Sequence[PolicyStep]], sampling: Sampling) -> None:
    """Replace the file's content by the trees; if the process is killed, the old or the new file remains."""
    lines = (journal.encode_record(_encode_tree(tree, sampling)) for tree in trees if tree)
    journal.atomic_write(path, lines)


def _encode_tree(steps: Sequence[PolicyStep], sampling: Sampling) -> dict[str, Any]:
    places: dict[tuple[str, str], int] = {}
    records = []
    for step in steps:
        prompt = [places.setdefault((each["role"], each["content"]), len(places)) for each in step.prompt]
        names = [field.name for field in fields(step) if field.name not in ("task_id", "prompt", "tree", *_OPTIONAL)]
        names += [name for name in _OPTIONAL if getattr(step, name)]
        records.append({"prompt": prompt, "depth": step.depth, **{name: getattr(step, name) for name in names}})
    messages = [{"role": role, "content": content} for role, content in places]
    return {"task_id": steps[0].task_id, "sampling": asdict(sampling), "messages": messages, "steps": records}


def _decode_tree(tree: _Tree, number: int) -> Iterable[PolicyStep]:
    messages: list[Mapping[str, str]] = [{"role": each.role, "content": each.content} for each in tree.messages]
    prompts: dict[tuple[int, ...], tuple[Mapping[str, str], ...]] = {}  # siblings share one object
    for step in tree.steps:
        prompt = prompts.setdefault(step.prompt, tuple(messages[place] for place in step.prompt))
        own = {field.name: getattr(step, field.name) for field in fields(step) if field.name != "prompt"}
        yield PolicyStep(task_id=tree.task_id, prompt=prompt, tree=number, **own)


@schema(frozen=True)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str


@schema(frozen=True)
class _Step:
    """A step as it is written, but for `depth`, which `node_id` tells."""

    node_id: str
    group: str
    prompt: Annotated[tuple[int, ...], Field(min_length=1)]
    completion: str
    ending: str
    executed: bool
    finished: bool
    soft: Annotated[float, Field(ge=0, le=1)] | None = None
    hard: bool | None = None
    reward: float | None = None
    multiplicity: Annotated[int, Field(ge=1)] = 1
    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[Annotated[float, Field(le=0)], ...] = ()


@schema(frozen=True)
class _Tree:
    task_id: str
    messages: tuple[_Message, ...]
    steps: tuple[_Step, ...]

    @model_validator(mode="after")
    def _match_numbers(self) -> Self:
        for step in self.steps:
            if not all(0 <= place < len(self.messages) for place in step.prompt):
                raise ValueError(f"the prompt of step {step.node_id} names messages that are not there")
            if len(step.log_probabilities) not in (0, len(step.tokens)):
                raise ValueError(f"step {step.node_id} has tokens and log_probabilities of different number")
        return self


_TREE_TYPE: TypeAdapter[_Tree] = TypeAdapter(_Tree)
