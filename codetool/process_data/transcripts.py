"""Read and write `transcripts.jsonl`: successful paths as chat messages, to train a policy on.

The format is that of OpenAI's fine-tuning files: an assistant message carries a `weight`, 1 to learn it, 0 to read it
only. Steps that failed have 0, so that a policy learns how to go on after a mistake and not how to make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass as schema

from codetool.interfaces import Prompt
from codetool.process_data import jsonl_reader
from codetool.process_data.rollouts import Rollout
from codetool.runs import journal
from codetool.types import Node

TRANSCRIPTS_FILE = "transcripts.jsonl"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A path as chat messages (`role`, `content`) and the weight of each, which is 0 for all but assistant messages."""

    task_id: str
    messages: tuple[Mapping[str, str], ...]
    weights: tuple[int, ...]


def make_transcripts(rollout: Rollout, prompt: Prompt, most: int) -> list[Transcript]:
    """At most so many successful paths of a task: those of fewest failed steps, of these the shortest first."""
    good = [leaf for leaf in rollout.find_leaves() if rollout.outcomes.get(leaf.id)]
    good.sort(key=lambda leaf: (sum(node.spot == 0 for node in leaf.path), leaf.depth))  # stable: then by place
    return [_make_transcript(rollout, leaf, prompt) for leaf in good[:most]]


def _make_transcript(rollout: Rollout, leaf: Node, prompt: Prompt) -> Transcript:
    messages = prompt.messages(rollout.task, leaf.path)[:-1]  # the last would ask for another step
    weights = iter(int(node.spot > 0) for node in leaf.path)
    return Transcript(
        rollout.task.id,
        tuple(messages),
        tuple(next(weights) if message["role"] == "assistant" else 0 for message in messages),
    )


def load_transcripts(paths: Sequence[Path]) -> list[Transcript]:
    """The transcripts of all files in order; a folder stands for its `transcripts.jsonl`.

    An assistant message without weight has 1. Raises MissingError for a file that is not there or empty, ConfigError,
    with file and line, for a wrong line.
    """
    return [
        Transcript(
            line.task_id,
            tuple({"role": message.role, "content": message.content} for message in line.messages),
            tuple(message.weight if message.role == "assistant" else 0 for message in line.messages),
        )
        for line in jsonl_reader.read_records(paths, TRANSCRIPTS_FILE, _LINE_TYPE)
    ]


def save_transcripts(path: Path, transcripts: Iterable[Transcript]) -> None:
    """Make the transcripts the file's content; a kill leaves the old file or the new one."""
    journal.atomic_write(path, (journal.encode_record(_to_line(transcript)) for transcript in transcripts))


def _to_line(transcript: Transcript) -> dict[str, Any]:
    messages = zip(transcript.messages, transcript.weights, strict=True)
    return {
        "task_id": transcript.task_id,
        "messages": [
            {**message, "weight": weight} if message["role"] == "assistant" else dict(message)
            for message, weight in messages
        ],
    }


@schema(frozen=True)
class _Message:
    role: Literal["system", "user", "assistant"]
    content: str
    weight: Literal[0, 1] = 1


@schema(frozen=True)
class _Line:
    task_id: str
    messages: Annotated[tuple[_Message, ...], Field(min_length=1)]


_LINE_TYPE: TypeAdapter[_Line] = TypeAdapter(_Line)
