"""Read and write `transcripts.jsonl`: successful paths as chat messages, to train a policy on.

The format is that of OpenAI's fine-tuning files: an assistant message has a `weight`, 1 if it is learned and 0 if it is
only context. Failed steps have weight 0, so that a policy learns to continue after a mistake but not to make it. Beside
the messages, `rewards` has the soft estimate of each step of the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass as schema

from codetool.interfaces import Prompt
from codetool.process_data import jsonl_reader
from codetool.process_data.rollouts import Estimate, Rollout
from codetool.runs import journal
from codetool.types import Node

TRANSCRIPTS_FILE = "transcripts.jsonl"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A path as chat messages (`role`, `content`), and the weight of each, 0 or 1; only the assistant's can be 1."""

    task_id: str
    messages: tuple[Mapping[str, str], ...]
    weights: tuple[int, ...]
    rewards: tuple[float, ...] = ()
    """Reward of each assistant message: the share of successful leaves below its step; empty where it is unknown."""


def make_transcripts(
    rollout: Rollout, prompt: Prompt, max_transcripts: int, estimates: Mapping[str, Estimate] | None = None
) -> list[Transcript]:
    """Return the paths to the leaves that `choose_successful_leaves` returns.

    `estimates` are those of the tree's steps by node id, from which the rewards are taken.
    """
    leaves = choose_successful_leaves(rollout, max_transcripts)
    return [_make_transcript(rollout, leaf, prompt, estimates) for leaf in leaves]


def choose_successful_leaves(rollout: Rollout, max_leaves: int) -> list[Node]:
    """Return up to `max_leaves` leaves that succeed: those with the fewest failed steps, then the least deep."""
    successful = [leaf for leaf in rollout.find_leaves() if rollout.outcomes.get(leaf.id)]
    successful.sort(key=lambda leaf: (sum(node.spot == 0 for node in leaf.path), leaf.depth))  # stable: then by place
    return successful[:max_leaves]


def _make_transcript(
    rollout: Rollout, leaf: Node, prompt: Prompt, estimates: Mapping[str, Estimate] | None
) -> Transcript:
    messages = prompt.messages(rollout.task, leaf.path)[:-1]  # the last would ask for another step
    weights = iter(int(node.spot > 0) for node in leaf.path)
    return Transcript(
        rollout.task.id,
        tuple(messages),
        tuple(next(weights) if message["role"] == "assistant" else 0 for message in messages),
        tuple(estimates[node.id].soft for node in leaf.path) if estimates else (),
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
            line.rewards,
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
        **({"rewards": transcript.rewards} if transcript.rewards else {}),
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
    rewards: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()

    @model_validator(mode="after")
    def _match_rewards(self) -> Self:
        steps = sum(message.role == "assistant" for message in self.messages)
        if self.rewards and len(self.rewards) != steps:
            raise ValueError(f"rewards has {len(self.rewards)} numbers for {steps} assistant messages")
        return self


_LINE_TYPE: TypeAdapter[_Line] = TypeAdapter(_Line)
