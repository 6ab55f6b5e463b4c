"""Tokenize here, for a vLLM server of this run, the chats that the server's own tokenizer would misread."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.errors import CodeToolError
from codetool.http.endpoint import PromptEncoder
from codetool.models.chat_template import ChatTokenizer

log = logging.getLogger(__name__)


def make_prompt_encoder(folder: Path, extra_body: Mapping[str, Any] | None) -> PromptEncoder | None:
    """Return the encoder of a served model folder; None, with a warning, if the folder's tokenizer cannot be used.

    It tokenizes a chat that spells a control token, and every chat if the template prints the date: then a prompt is
    the same on every day, and the same as that of the model in this process. `extra_body` may hold
    `chat_template_kwargs`, the variables that the server gives to the template.
    """
    variables = (extra_body or {}).get("chat_template_kwargs")
    try:
        tokenizer = ChatTokenizer(folder, variables if isinstance(variables, Mapping) else None)
    except CodeToolError as error:
        log.warning("%s. So vLLM reads control tokens that a step or a tool's output spells as control tokens.", error)
        return None

    def encode(messages: Sequence[Mapping[str, str]]) -> list[int] | None:
        chat = [dict(message) for message in messages]
        return tokenizer.encode(chat) if tokenizer.prints_date or tokenizer.spells_control_token(chat) else None

    return encode
