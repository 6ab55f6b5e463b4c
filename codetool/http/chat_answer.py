"""Whether what came with HTTP 200 is an answer: some servers report errors inside a success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetool.http.server_error import ServerError, error_from

_ERROR_NAMES = ("error", "errors", "detail", "message")


def checked_answer(content: Any) -> dict[str, Any] | ServerError:
    """The decoded answer with the choices that are whole, or the error that stands in their place."""
    if not isinstance(content, dict):
        return ServerError(0, f"an answer that is no chat completion: {str(content)[:80]!r}")
    choices = content.get("choices")
    listed = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    whole = [choice for choice in listed if _is_whole(choice)]
    if whole and not content.get("error"):
        return content | {"choices": whole}
    if any(content.get(name) for name in _ERROR_NAMES):
        return error_from(content)
    told = next((choice["error"] for choice in listed if choice.get("error")), None)
    if told is not None:
        return error_from({"error": told})
    if listed and listed[0].get("finish_reason") == "error":
        return ServerError(0, "an answer with finish_reason: error")
    return ServerError(0, "an answer that is no chat completion: it has no choice with a message")


def _is_whole(choice: Mapping[str, Any]) -> bool:
    if choice.get("error") or choice.get("finish_reason") == "error":
        return False
    return isinstance(choice.get("message"), Mapping)
