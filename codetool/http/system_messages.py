"""Move system messages into the user's message for servers whose model refuses them.

A chat template without a system role, such as Gemma's, makes a server answer HTTP 400. After the first refusal the
system text is put at the start of the user's message, as `codetool.models.chat_template` does for local models.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from codetool.errors import UnreachableError
from codetool.prompts.messages import Message, merge_same_roles, merge_system_message

log = logging.getLogger(__name__)

_REFUSAL = re.compile(
    r"\bsystem\b.{0,40}\b(?:role|message|prompt|instruction)|\broles?\b.{0,60}\bsystem\b|developer instruction is not"
    r"|roles? must alternate|only user and assistant",
    re.IGNORECASE | re.DOTALL,
)


class SystemMessages:
    """Whether one server's model accepts system messages, and chats in the form that it accepts."""

    def __init__(self) -> None:
        """Assume that system messages are accepted."""
        self._refused = False

    def adapt_messages(self, messages: Sequence[Mapping[str, str]]) -> list[Message]:
        """Return the messages in the form that the model accepts."""
        chat = [dict(message) for message in messages]
        return merge_same_roles(merge_system_message(chat)) if self._refused else chat

    def learn_from(self, error: Exception, messages: Sequence[Mapping[str, str]]) -> bool:
        """Record a refusal of system messages. Returns whether the messages are worth sending again; warns once."""
        if isinstance(error, UnreachableError):
            return False  # a failing server may mention its system, which is no refusal of a role
        if not any(message["role"] == "system" for message in messages) or not _REFUSAL.search(str(error)):
            return False
        if not self._refused:
            self._refused = True
            log.warning("the server refuses system messages; their text is put at the start of the user's: %s", error)
        return True
