"""What is worth telling of a server's answers, once: how many had no text, were cut or filtered, and cut prompts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from codetool.http.chat_response import Completion
from codetool.http.endpoint import Server

log = logging.getLogger(__name__)

FILTERED_PROMPT = "filtered_prompt"
_MEANING = {
    "length": "were cut at {group}.max_tokens={max_tokens} (finish_reason: length)",
    "content_filter": "were taken back by the server's content filter (finish_reason: content_filter)",
    "refusal": "were refusals of the model",
    "reasoning_only": "held thoughts alone: raise {group}.max_tokens, or switch thinking off with {group}.extra_body",
    "empty": "were empty",
    FILTERED_PROMPT: "were prompts that the server's content filter does not let pass",
}
_ALIKE = {"max_tokens": "length", "max_output_tokens": "length", "safety": "content_filter"}
"""Other servers' words for a reason."""
_FEWEST_CHARS = 1000
_FEWEST_TOKENS = 100
_MOST_CHARS_A_TOKEN = 6.0
"""English, code and JSON have 2.5 to 4.5 characters a token: a prompt with more was not read to its end."""
_MOST_GROWTH = 1.8
"""How much more characters a token a prompt may have than another one of the same server."""


class AnswerNotes:
    """Counts of one client's answers."""

    def __init__(self, server: Server) -> None:
        """Takes the server that messages name."""
        self._server = server
        self._answers = 0
        self._counts: Counter[str] = Counter()
        self._max_tokens = 0
        self._told: set[str] = set()
        self._fewest_chars_a_token = float("inf")

    def read(self, done: Completion, body: Mapping[str, Any]) -> None:
        """Count the answers to a request by the reason why they ended."""
        self._max_tokens = max(self._max_tokens, body.get("max_tokens", 0))
        for reason in done.finish_reasons:
            self.count(_ALIKE.get(reason.lower(), reason) if reason else "")
        if done.estimated:
            self.tell_once("estimated", "reports no usage: tokens are estimated as characters / 4")

    def count(self, reason: str) -> None:
        """Count one answer, or a prompt that got none."""
        self._answers += 1
        self._counts[reason] += reason in _MEANING

    def check_prompt(self, usage: Any, body: Mapping[str, Any]) -> None:
        """Warn once if a server counts far fewer prompt tokens than the prompt's characters make: it cuts prompts."""
        usage = usage if isinstance(usage, Mapping) else {}
        tokens, details = usage.get("prompt_tokens"), usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
        chars = sum(len(str(message["content"])) for message in body["messages"])
        if not isinstance(tokens, int) or tokens < _FEWEST_TOKENS or chars < _FEWEST_CHARS:
            return
        rate = chars / (tokens + (cached if isinstance(cached, int) else 0))
        if rate > min(_MOST_CHARS_A_TOKEN, _MOST_GROWTH * self._fewest_chars_a_token):
            self.tell_once(
                "cut",
                f"counts {tokens} tokens for a prompt of {chars} characters: it cuts prompts, so that the model does "
                "not see all of them. Raise the context length that the server was started with.",
            )
        self._fewest_chars_a_token = min(self._fewest_chars_a_token, rate)

    def tell_once(self, kind: str, words: str) -> None:
        """Warn of something that a server does, the first time."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s %s", self._server.base_url, words)

    def tell(self) -> None:
        """One warning for each kind of answer that brought no text or not all of it, with its count."""
        for reason, count in self._counts.items():
            if count:
                meaning = _MEANING[reason].format(group=self._server.group, max_tokens=self._max_tokens)
                log.warning("%s: %d of %d answers %s", self._server.base_url, count, self._answers, meaning)
