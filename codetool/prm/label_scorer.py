"""The interface of a model that scores chats by the probability of the first of two labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codetool.prompts.messages import Message


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The scores of several chats and the number of prompt tokens."""

    values: tuple[float | None, ...]
    """For each chat the probability of the first label among the two, in [0, 1], or what else `prm.score` makes of
    their logits; None where the chat exceeds the model's context."""
    tokens: int
    """Tokens of the chats that the model was asked."""
    computed: int | None = None
    """Tokens of them that it really computed: what it had read before, for other chats too, costs nothing again. None:
    all of them."""

    @property
    def tokens_computed(self) -> int:
        """Tokens that were computed."""
        return self.tokens if self.computed is None else self.computed


class LabelScorer(Protocol):
    """A model that scores chats by the probability of the first of two labels."""

    async def score_chats(self, chats: Sequence[Sequence[Message]], name: str, *, new: bool) -> LabelScores:
        """The probability of the first label for each chat.

        `name` says in messages what they are about. `new` tells that nothing was asked yet that starts as they do.
        """
        ...


def count_characters(chat: Sequence[Message]) -> int:
    """Characters of the texts of a chat."""
    return sum(len(message["content"]) for message in chat)
