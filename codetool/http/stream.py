"""Assemble a streamed chat completion into the response that the same request without streaming returns."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Any

from codetool.http.chat_response import MAX_TEXT_CHARS
from codetool.http.errors_in_success import FILTER_FIELDS

TEXT_FIELDS = ("content", "refusal", "reasoning_content", "reasoning")

KEPT_FIELDS = ("usage", *FILTER_FIELDS)
"""Fields of a chunk that belong to the completion as a whole."""


async def assemble_completion(chunks: AsyncIterable[Any]) -> dict[str, Any]:
    """Return the completion that the chunks of `openai`'s stream form.

    A choice without a finish reason gets an `error`: the stream was interrupted.
    """
    choices: dict[int, dict[str, Any]] = {}
    completion: dict[str, Any] = {}
    async for chunk in chunks:
        content: dict[str, Any] = chunk.to_dict()
        completion |= {name: content[name] for name in KEPT_FIELDS if content.get(name)}
        for part in content.get("choices") or ():
            index = part.get("index") or 0
            _extend_choice(choices.setdefault(index, {"index": index, "message": {"role": "assistant"}}), part)
    for choice in choices.values():
        if not choice.get("finish_reason"):
            choice["error"] = {"message": "the stream ended before the answer did"}
    return completion | {"choices": [choices[index] for index in sorted(choices)]}


def _extend_choice(choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add one chunk to a choice."""
    delta = part.get("delta") or part.get("message") or {}
    message = choice["message"]
    for name in TEXT_FIELDS:
        if delta.get(name) is not None:
            message[name] = _join_texts(message.get(name), delta[name])
    for name in ("finish_reason", "error"):
        if part.get(name):
            choice[name] = part[name]
    logprobs = (part.get("logprobs") or {}).get("content")
    if logprobs:
        choice.setdefault("logprobs", {"content": []})["content"].extend(logprobs)


def _join_texts(start: Any, added: Any) -> Any:
    """Join two texts up to a little more than the maximum length; if one is a list of parts, return a list."""
    if len(start or "") > MAX_TEXT_CHARS:
        return start  # it is cut anyway, and each join copies it
    if isinstance(start or "", str) and isinstance(added, str):
        return (start or "") + added
    parts = [
        part_list if isinstance(part_list, list) else [{"type": "text", "text": part_list}]
        for part_list in (start, added)
        if part_list
    ]
    return [part for part_list in parts for part in part_list]
