"""The interface of a model that scores chats by the probability of the first of two labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from codetool.prompts.messages import Message


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The scores of several chats and the number of prompt tokens."""

    values: tuple[float | None, ...]
    """Score of each chat: the probability of the first label among the two, in [0, 1], or the result of another
    `prm.score` formula; None for a chat that exceeds the model's context."""
    tokens: int
    """Number of prompt tokens of the scored chats."""
    computed: int | None = None
    """Number of these tokens that were computed and not found in the prefix cache; None means all of them."""

    @property
    def tokens_computed(self) -> int:
        """Number of prompt tokens that were computed."""
        return self.tokens if self.computed is None else self.computed


class LabelScorer(Protocol):
    """A model that scores chats by the probability of the first of two labels."""

    async def score_chats(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> LabelScores:
        """Return the scores of the chats.

        `name` identifies the chats in log messages. `new` states that no chat with their common prefix has been scored
        yet, so that the prefix is not in a cache.
        """
        ...


@runtime_checkable
class MeasuringScorer(LabelScorer, Protocol):
    """A scorer that knows the size of its context and tells its progress."""

    @property
    def max_characters(self) -> int:
        """Characters that a chat within the model's context has at most."""
        ...

    def count_tokens(self, chat: Sequence[Message]) -> tuple[int, int]:
        """Return the number of tokens of a chat, and of the model's context."""
        ...

    def on_progress(self, callback: Callable[[int, int], None]) -> None:
        """Call `callback` before every forward pass with its number of sibling groups and its number of tokens."""
        ...


def count_characters(chat: Sequence[Message]) -> int:
    """Return the number of characters of all messages of a chat."""
    return sum(len(message["content"]) for message in chat)
