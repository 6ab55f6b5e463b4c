"""Detect errors that some chat servers report inside a response with HTTP 200."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codetool.http.finish_reasons import explains_missing_text
from codetool.http.retry import RetryableError
from codetool.http.server_error import ServerError, parse_error

_ERROR_FIELDS = ("error", "errors", "detail", "message")
FILTER_FIELDS = ("promptFeedback", "prompt_filter_results")
"""Fields in which Google's and Azure's servers say that a filter blocked the prompt."""
NO_CHOICE = "no_choice"
"""Code of a response that counts its tokens, reports no error and holds no choice with a message."""


class NoChoiceError(RetryableError):
    """The server read the prompt, for it counts tokens, and answered without a choice and without an error."""


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
    if not complete and (block_reason := _find_block_reason(content)) is not None:
        return ServerError(400, f"the prompt was blocked: {block_reason}", code="content_filter")
    choice_error = next((choice["error"] for choice in valid_choices if choice.get("error")), None)
    if choice_error is not None:
        return parse_error({"error": choice_error})
    if valid_choices and valid_choices[0].get("finish_reason") == "error":
        return ServerError(0, "an answer with finish_reason: error")
    was_read = isinstance(content.get("usage"), Mapping)
    return ServerError(0, _describe_missing_choice(content), code=NO_CHOICE if was_read else "")


def _find_block_reason(content: Mapping[str, Any]) -> str | None:
    """Return the reason why a server's filter blocked the prompt, as Google's and Azure's answers give it, or None."""
    google, azure = (content.get(name) for name in FILTER_FIELDS)
    if isinstance(google, Mapping) and google.get("blockReason"):
        return str(google["blockReason"])
    for result in azure if isinstance(azure, list) else []:
        categories = result.get("content_filter_results") if isinstance(result, Mapping) else None
        for name, verdict in categories.items() if isinstance(categories, Mapping) else ():
            if isinstance(verdict, Mapping) and verdict.get("filtered"):
                return str(name)
    return None


def _describe_missing_choice(content: Mapping[str, Any]) -> str:
    choices, usage = content.get("choices"), content.get("usage")
    if choices:
        problem = "it has no choice with a message"
    elif isinstance(choices, list):
        problem = "its list of choices is empty (`choices: []`)"
    else:
        problem = "it has no choices"
    if isinstance(usage, Mapping):
        counts = [f"{usage[name]} {name}" for name in ("prompt_tokens", "completion_tokens") if name in usage]
        problem += f", and it counts {' and '.join(counts)}" if counts else ""
    return f"an answer that is no chat completion: {problem}"


def _add_missing_message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the choice with an empty message if its finish reason says why it has none."""
    if choice.get("message") is None and explains_missing_text(choice.get("finish_reason")):
        return {**choice, "message": {}}
    return choice


def _is_complete(choice: Mapping[str, Any]) -> bool:
    if choice.get("error") or choice.get("finish_reason") == "error":
        return False
    return isinstance(choice.get("message"), Mapping)
