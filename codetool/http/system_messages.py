"""Whether a server's model takes a system message: learnt from its first refusal, as models differ and none tells.

A chat template without a system role, Gemma's for example, makes a server answer HTTP 400. From then on the system text
is put at the start of the user's message, as `codetool.models.chat_template` does for models in this process.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

from codetool.prompts.messages import Message, merge_same_roles, merge_system_message

log = logging.getLogger(__name__)

_REFUSAL = re.compile(
    r"\bsystem\b.{0,40}\b(?:role|message|prompt|instruction)|\broles?\b.{0,60}\bsystem\b|developer instruction is not"
    r"|roles? must alternate|only user and assistant",
    re.IGNORECASE | re.DOTALL,
)


class SystemMessages:
    """How one server's model takes system messages."""

    def __init__(self) -> None:
        """It is taken to take them until it refuses one."""
        self._refused = False

    def adapt_messages(self, messages: Sequence[Mapping[str, str]]) -> list[Message]:
        """The messages as the model takes them."""
        chat = [dict(message) for message in messages]
        return merge_same_roles(merge_system_message(chat)) if self._refused else chat

    def learn_from(self, error: Exception, messages: Sequence[Mapping[str, str]]) -> bool:
        """Whether the messages are worth sending again: the error refuses their system message. Says so once."""
        if not any(message["role"] == "system" for message in messages) or not _REFUSAL.search(str(error)):
            return False
        if not self._refused:
            self._refused = True
            log.warning("the server refuses system messages; their text is put at the start of the user's: %s", error)
        return True
