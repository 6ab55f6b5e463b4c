"""Requests whose prompt is a list of tokens, for chats whose texts the server's tokenizer would misread.

vLLM's tokenizer turns every spelling of a control token into that token, also where a step or a tool's output holds it.
Such a chat is tokenized here and sent to `/v1/completions`, which takes tokens; its response is given the form of one
of `/v1/chat/completions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CHAT_ONLY_FIELDS = frozenset({"messages", "top_logprobs", "chat_template_kwargs", "stream", "stream_options"})
"""Fields of a chat request that one for tokens does not have; what they say of the template is in the tokens."""


def make_body(body: Mapping[str, Any], tokens: Sequence[int]) -> dict[str, Any]:
    """Return the body of a chat request as one for a prompt of these tokens."""
    kept = {name: value for name, value in body.items() if name not in CHAT_ONLY_FIELDS}
    if kept.get("logprobs") is True:
        kept["logprobs"] = body.get("top_logprobs") or 1
    elif kept.get("logprobs") is False:
        del kept["logprobs"]
    if "max_completion_tokens" in kept:
        kept["max_tokens"] = kept.pop("max_completion_tokens")
    return {**kept, "prompt": list(tokens)}


def to_chat_response(content: Any) -> Any:
    """Return a decoded response to a prompt of tokens in the form of a chat's; other contents unchanged."""
    if not isinstance(content, dict) or not isinstance(content.get("choices"), list):
        return content
    return {**content, "choices": [_to_chat_choice(choice) for choice in content["choices"]]}


def _to_chat_choice(choice: Any) -> Any:
    if not isinstance(choice, dict) or "text" not in choice:
        return choice
    positions = _list_positions(choice.get("logprobs"))
    return {
        **{name: value for name, value in choice.items() if name not in ("text", "logprobs")},
        "message": {"role": "assistant", "content": choice["text"]},
        "logprobs": {"content": positions} if positions else None,
    }


def _list_positions(logprobs: Any) -> list[dict[str, Any]]:
    """Return the log-probabilities of a choice in the form of a chat's, one object for each token."""
    if not isinstance(logprobs, dict) or not isinstance(logprobs.get("top_logprobs"), list):
        return []
    positions = [{"top_logprobs": _list_tokens(logprob_by_token)} for logprob_by_token in logprobs["top_logprobs"]]
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if isinstance(tokens, list) and isinstance(values, list) and len(tokens) == len(values) == len(positions):
        chosen = [{"token": token, "logprob": value} for token, value in zip(tokens, values, strict=True)]
        return [token | position for token, position in zip(chosen, positions, strict=True)]
    return positions


def _list_tokens(logprob_by_token: Any) -> list[dict[str, Any]]:
    pairs = logprob_by_token.items() if isinstance(logprob_by_token, dict) else ()
    return [{"token": token, "logprob": logprob} for token, logprob in pairs]
