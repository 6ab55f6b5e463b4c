"""Chat messages, and the changes that some models' chat templates need in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Message = dict[str, str]
"""One chat message: `role` (system, user or assistant) and `content`."""


def merge_system_message(messages: Sequence[Mapping[str, str]]) -> list[Message]:
    """Return the messages with each system message put at the start of the user message that follows it.

    For models whose chat template takes no system message.
    """
    chat: list[Message] = []
    pending = ""
    for message in messages:
        if message["role"] == "system":
            pending = join_paragraphs(pending, message["content"])
            continue
        if pending and message["role"] == "user":
            message, pending = {**message, "content": join_paragraphs(pending, message["content"])}, ""
        chat.append(dict(message))
    return [*chat, {"role": "user", "content": pending}] if pending else chat


def merge_same_roles(messages: Sequence[Mapping[str, str]]) -> list[Message]:
    """Return the messages with successive messages of one role joined, for models whose roles must alternate."""
    chat: list[Message] = []
    for message in messages:
        if chat and chat[-1]["role"] == message["role"]:
            chat[-1]["content"] = join_paragraphs(chat[-1]["content"], message["content"])
        else:
            chat.append(dict(message))
    return chat


def join_paragraphs(first: str, second: str) -> str:
    """Join two texts by an empty line. A blank text is left out."""
    return "\n\n".join(part for part in (first, second) if part.strip())
