"""Detect errors that some chat servers report inside a response with HTTP 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetool.http.server_error import ServerError, parse_error

_ERROR_FIELDS = ("error", "errors", "detail", "message")
_REASONS_WITHOUT_MESSAGE = frozenset({"content_filter", "length"})
"""Finish reasons with which some servers leave the message out."""


def check_response(content: Any) -> dict[str, Any] | ServerError:
    """Return the decoded response with its complete choices, or the error that it reports instead.

    A choice that was filtered or cut before its first token comes without a message and gets an empty one.
    """
    if not isinstance(content, dict):
        return ServerError(0, f"an answer that is no chat completion: {str(content)[:80]!r}")
    choices = content.get("choices")
    valid_choices = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    valid_choices = [_add_missing_message(choice) for choice in valid_choices]
    complete = [choice for choice in valid_choices if _is_complete(choice)]
    if complete and not content.get("error"):
        return content | {"choices": complete}
    if any(content.get(name) for name in _ERROR_FIELDS):
        return parse_error(content)
    choice_error = next((choice["error"] for choice in valid_choices if choice.get("error")), None)
    if choice_error is not None:
        return parse_error({"error": choice_error})
    if valid_choices and valid_choices[0].get("finish_reason") == "error":
        return ServerError(0, "an answer with finish_reason: error")
    return ServerError(0, "an answer that is no chat completion: it has no choice with a message")


def _add_missing_message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the choice with an empty message if its finish reason says why it has none."""
    if choice.get("message") is None and choice.get("finish_reason") in _REASONS_WITHOUT_MESSAGE:
        return {**choice, "message": {}}
    return choice


def _is_complete(choice: Mapping[str, Any]) -> bool:
    if choice.get("error") or choice.get("finish_reason") == "error":
        return False
    return isinstance(choice.get("message"), Mapping)
