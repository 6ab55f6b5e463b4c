"""Warnings about a server's responses: counts of empty, cut or filtered answers, and prompts that the server cuts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.http.finish_reasons import normalize_finish_reason

log = logging.getLogger(__name__)

FILTERED_PROMPT = "filtered_prompt"
_WARNING_BY_REASON = {
    "length": "were cut at {group}.max_tokens={max_tokens} (finish_reason: length)",
    "content_filter": "were taken back by the server's content filter (finish_reason: content_filter)",
    "refusal": "were refusals of the model",
    "reasoning_only": "held thoughts alone: raise {group}.max_tokens, or switch thinking off with {group}.extra_body",
    "empty": "were empty",
    FILTERED_PROMPT: "were prompts that the server's content filter does not let pass",
}
_MIN_CHARS = 1000
_MIN_TOKENS = 100
_MAX_CHARS_PER_TOKEN = 6.0
"""Characters per token. English, code and JSON have 2.5 to 4.5: with more, the server did not read the whole prompt."""
_MAX_RATIO_GROWTH = 1.8
"""Maximum factor between the characters per token of two prompts on one server."""


class ResponseWarnings:
    """Counts one client's responses by finish reason and warns about them."""

    def __init__(self, server: Endpoint) -> None:
        """Take the endpoint that messages name."""
        self._endpoint = server
        self._response_count = 0
        self._counts: Counter[str] = Counter()
        self._max_tokens = 0
        self._warned: set[str] = set()
        self._lowest_chars_per_token = float("inf")

    def record(self, completion: Completion, body: Mapping[str, Any]) -> None:
        """Count the choices of a completion by finish reason."""
        self._max_tokens = max(self._max_tokens, body.get("max_tokens", 0))
        for reason in completion.finish_reasons:
            self.count_reason(normalize_finish_reason(reason))
        if completion.estimated:
            self.warn_once("estimated", "reports no usage: tokens are estimated as characters / 4")

    def count_reason(self, reason: str) -> None:
        """Count one answer, or one prompt without an answer."""
        self._response_count += 1
        self._counts[reason] += reason in _WARNING_BY_REASON

    def warn_if_prompt_cut(self, usage: Any, body: Mapping[str, Any]) -> None:
        """Warn once if the server counts far fewer tokens than the prompt must have: it cuts prompts."""
        usage = usage if isinstance(usage, Mapping) else {}
        tokens, details = usage.get("prompt_tokens"), usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
        chars = sum(len(str(message["content"])) for message in body["messages"])
        if not isinstance(tokens, int) or tokens < _MIN_TOKENS or chars < _MIN_CHARS:
            return
        ratio = chars / (tokens + (cached if isinstance(cached, int) else 0))
        if ratio > min(_MAX_CHARS_PER_TOKEN, _MAX_RATIO_GROWTH * self._lowest_chars_per_token):
            self.warn_once(
                "cut",
                f"counts {tokens} tokens for a prompt of {chars} characters: it cuts prompts, so that the model does "
                "not see all of them. Raise the context length that the server was started with.",
            )
        self._lowest_chars_per_token = min(self._lowest_chars_per_token, ratio)

    def warn_once(self, kind: str, message: str) -> None:
        """Log a warning the first time that this kind is reported."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s %s", self._endpoint.base_url, message)

    def log_counts(self) -> None:
        """Log one warning with a count for each kind of answer that is empty or incomplete."""
        for reason, count in self._counts.items():
            if count:
                meaning = _WARNING_BY_REASON[reason].format(group=self._endpoint.group, max_tokens=self._max_tokens)
                log.warning("%s: %d of %d answers %s", self._endpoint.base_url, count, self._response_count, meaning)
