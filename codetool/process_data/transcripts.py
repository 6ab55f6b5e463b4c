"""Read and write `transcripts.jsonl`: successful paths as chat messages, to train a policy on.

The format is that of OpenAI's fine-tuning files: an assistant message has a `weight`, 1 if it is learned and 0 if it is
only context. Failed steps have weight 0, so that a policy learns to continue after a mistake but not to make it.
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
    """A path as chat messages (`role`, `content`), and the weight of each, 0 or 1; only the assistant's can be 1."""

    task_id: str
    messages: tuple[Mapping[str, str], ...]
    weights: tuple[int, ...]


def make_transcripts(rollout: Rollout, prompt: Prompt, max_transcripts: int) -> list[Transcript]:
    """Return the paths to the leaves that `choose_successful_leaves` returns."""
    return [_make_transcript(rollout, leaf, prompt) for leaf in choose_successful_leaves(rollout, max_transcripts)]


def choose_successful_leaves(rollout: Rollout, max_leaves: int) -> list[Node]:
    """Return up to `max_leaves` leaves that succeed: those with the fewest failed steps, then the least deep."""
    successful = [leaf for leaf in rollout.find_leaves() if rollout.outcomes.get(leaf.id)]
    successful.sort(key=lambda leaf: (sum(node.spot == 0 for node in leaf.path), leaf.depth))  # stable: then by place
    return successful[:max_leaves]


def _make_transcript(rollout: Rollout, leaf: Node, prompt: Prompt) -> Transcript:
    messages = prompt.messages(rollout.task, leaf.path)[:-1]  # the last would ask for another step
    weights = iter(int(node.spot > 0) for node in leaf.path)
    return Transcript(
        rollout.task.id,
        tuple(messages),
        tuple(next(weights) if message["role"] == "assistant" else 0 for message in messages),
    )


def load_transcripts(paths: Sequence[Path]) -> list[Transcript]:
    """Return the transcripts of all files in order; a folder stands for its `transcripts.jsonl`.

    An assistant message without a weight gets 1. Raises MissingError for a missing or empty file, and ConfigError,
    which names file and line, for an invalid line.
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
    """Replace the file's content by the transcripts; if the process is killed, the old or the new file remains."""
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
