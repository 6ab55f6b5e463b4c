"""Examples in tokens: what a model reads, and where it is asked what.

Process data and transcripts become the same thing. A step to judge is one reading after the prompt's last token; a
step to write is a reading before each of its tokens. Prompts are rendered and tokenised by the functions that scoring
and generation use, so a trained model is asked what it was taught.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codetool.model_types import ProcessExample
from codetool.prompts.prm_prompt import PRMPrompt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A question to the model: what comes after the token at `place`?

    `token` is the right answer of a policy. A PRM is asked for the probability of its first label, `share`.
    """

    place: int
    weight: float = 1.0
    token: int = -1
    share: float = 0.0
    number: int = -1
    """Of the process example that is judged, among those that were read."""


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A prompt in tokens with its readings, of which there is at least one. Examples of a task are kept together."""

    task_id: str
    tokens: tuple[int, ...]
    readings: tuple[Target, ...]


class ChatEncoder(Protocol):
    """A model's tokenizer and chat template; `codetool.models.chat_template.ChatTokens` is one."""

    def encode(self, messages: Sequence[Any]) -> list[int]:
        """The tokens of a chat, the assistant's turn begun."""
        ...

    def literal(self, text: str) -> list[int]:
        """The tokens of a text, none added and none of them a control token."""
        ...

    def end_of_turn(self) -> int | None:
        """The token that ends an assistant's message; None if the model has none."""
        ...


class ChatTranscript(Protocol):
    """A transcript: chat messages and the weight of each, which is 0 for all but those to learn."""

    task_id: str
    messages: Sequence[Mapping[str, str]]
    weights: Sequence[float]


def build_prm_examples(
    examples: Iterable[ProcessExample], prompt: PRMPrompt, tokens: ChatEncoder, target: str
) -> Iterator[SFTExample]:
    """What a PRM learns of process data: `target` is `label`, `soft` or `latent`. Without a label nothing is learned.

    An example counts as often as its program was sampled.
    """
    for number, each in enumerate(examples):
        wanted = getattr(each, target)
        if wanted is None:
            continue
        chat = prompt.with_candidate(each.prefix, each.node_id.count("-") + 1, each.step)
        read = tuple(tokens.encode(chat))
        reading = Target(len(read) - 1, float(each.multiplicity), share=float(wanted), number=number)
        yield SFTExample(each.task_id, read, (reading,))


def build_policy_examples(transcripts: Iterable[ChatTranscript], tokens: ChatEncoder) -> Iterator[SFTExample]:
    """What a policy learns of transcripts: every token of the assistant's messages that have a weight, and to stop.

    An example a message: what stood before it as it is read at inference, then the message's own tokens and the one
    that ends a turn. Without that one a policy would learn to write an action but not to wait for its answer.
    """
    end = tokens.end_of_turn()
    if end is None:
        log.warning("the model's chat template and tokenizer name no token that ends a turn: a policy learns no end")
    for each in transcripts:
        for place, weight in enumerate(each.weights):
            if not weight:
                continue
            before = tokens.encode(each.messages[:place])
            said = [*tokens.literal(each.messages[place]["content"]), *([] if end is None else [end])]
            first = len(before) - 1
            readings = tuple(Target(first + i, weight, token) for i, token in enumerate(said))
            yield SFTExample(each.task_id, (*before, *said[:-1]), readings)
