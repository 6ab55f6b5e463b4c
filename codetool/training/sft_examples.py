"""Turn process data and transcripts into tokenized training examples with the targets of the loss.

Both kinds of data become `SFTExample`s. An example of a PRM has one target, after the prompt's last token; an example
of a policy has one target for each token of the step. Prompts are rendered and tokenized by the functions that scoring
and generation use, so that a model sees the same prompts in training and in use.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from codetool.interfaces import ScoringPrompt
from codetool.model_types import ProcessExample

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """The training target for the model's prediction after one token.

    A policy learns the next token, `token`. A PRM learns the probability of its first label, `label_prob`.
    """

    position: int
    """Index of the token after which the model predicts."""
    weight: float = 1.0
    """Weight of the target in the loss."""
    token: int = -1
    """The correct next token of a policy; -1 for a PRM."""
    label_prob: float = 0.0
    """Target probability of a PRM's first label, in [0, 1]; not used for a policy."""
    example_index: int = -1
    """Index of the scored process example among those that were read; -1 for a policy."""
    group: str = ""
    """Sibling group of the scored step, whose members are compared in pairs; empty without a pairwise loss."""


@dataclass(frozen=True, slots=True)
class PRMTarget:
    """What a PRM learns of one process example."""

    value: float
    """Target probability of the first label, in [0, 1]."""
    weight: float
    """Weight in the loss, above 0."""
    group: str = ""
    """Sibling group whose members are compared in pairs; empty without a pairwise loss."""


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A tokenized training example with at least one target. Examples of one task are kept together."""

    task_id: str
    tokens: tuple[int, ...]
    targets: tuple[Target, ...]


class ChatEncoder(Protocol):
    """A model's tokenizer and chat template; `codetool.models.chat_template.ChatTokenizer` is one."""

    def encode(self, messages: Sequence[Any]) -> list[int]:
        """Return the tokens of a chat up to the start of the assistant's turn."""
        ...

    def tokenize_literally(self, text: str) -> list[int]:
        """Return the tokens of a text; nothing is added, and none of them is a control token."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special tokens included."""
        ...

    def find_end_of_turn(self) -> int | None:
        """Return the token that ends an assistant message; None if the model has none."""
        ...


class ChatTranscript(Protocol):
    """Chat messages and the weight of each; only messages with a weight above 0 are learned."""

    task_id: str
    messages: Sequence[Mapping[str, str]]
    weights: Sequence[float]


def build_prm_examples(
    examples: Iterable[ProcessExample],
    prompt: ScoringPrompt,
    tokenizer: ChatEncoder,
    targets: Iterable[PRMTarget | None],
    *,
    sees_observation: bool = False,
) -> Iterator[SFTExample]:
    """Yield a training example of a PRM for each process example with a target; those whose target is None are skipped.

    `codetool.stages.train.prm_targets` chooses the targets. With `sees_observation`, a step is followed by what it did.
    """
    for index, (example, chosen) in enumerate(zip(examples, targets, strict=True)):
        if chosen is None:
            continue
        chat = prompt.with_candidate(example.prefix, example.node_id.count("-") + 1, example.step)
        if sees_observation:
            chat[-1]["content"] += example.result or ""
        tokens = tuple(tokenizer.encode(chat))
        target = Target(
            len(tokens) - 1, chosen.weight, label_prob=chosen.value, example_index=index, group=chosen.group
        )
        yield SFTExample(example.task_id, tokens, (target,))


def build_policy_examples(transcripts: Iterable[ChatTranscript], tokenizer: ChatEncoder) -> Iterator[SFTExample]:
    """Yield a training example of a policy for each assistant message that has a weight.

    An example is the chat before the message, tokenized as at inference, and the tokens of the message. Its targets
    are those tokens and the token that ends a turn, so that the policy learns to stop and wait for an observation.
    """
    end_token = tokenizer.find_end_of_turn()
    if end_token is None:
        log.warning("the model's chat template and tokenizer name no token that ends a turn: a policy learns no end")
    for transcript in transcripts:
        for index, weight in enumerate(transcript.weights):
            if not weight:
                continue
            prefix = tokenizer.encode(transcript.messages[:index])
            end = [] if end_token is None else [end_token]
            learned = [*tokenizer.tokenize_literally(transcript.messages[index]["content"]), *end]
            first = len(prefix) - 1
            targets = tuple(Target(first + i, weight, token) for i, token in enumerate(learned))
            yield SFTExample(transcript.task_id, (*prefix, *learned[:-1]), targets)
