"""Parse the responses of a PRM server, and tell the faults that are worth a retry from refusals."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx

from codetool.errors import CodeToolError
from codetool.http.connection_pools import SlowBodyError
from codetool.http.fault_counts import classify_body, classify_transport_error
from codetool.http.retry import RetryableError, parse_retry_after
from codetool.model_types import Scores

log = logging.getLogger(__name__)

RETRIED_STATUSES = frozenset({408, 425, 429})
"""Client errors (RFC 9110, RFC 8470, RFC 6585) after which a request can succeed if it is repeated later."""
TOO_LARGE = 413
"""HTTP status of a request that exceeds the server's limits."""


class UnreadableError(RetryableError):
    """A successful response that contains no score."""


def raise_if_transient(response: httpx.Response) -> None:
    """Raise RetryableError for a status after which a retry may succeed."""
    status = response.status_code
    if status >= 500 or status in RETRIED_STATUSES:
        retry_after = parse_retry_after(response.headers)
        raise RetryableError(f"HTTP {status}", kind=f"status_{status}", retry_after=retry_after)


def to_retryable_error(error: httpx.RequestError, *, last: bool = False) -> RetryableError:
    """Return the fault of a request without a response; with `last`, no further attempt is made."""
    kind = "slow_body" if isinstance(error, SlowBodyError) else classify_transport_error(error)
    return RetryableError(_describe_error(error), kind=kind, last=last)


def classify_unreadable(response: httpx.Response) -> str:
    """Return the kind of fault of a success without a score."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return classify_body(response.text)
    reports_error = isinstance(content, dict) and any(content.get(name) for name in ("error", "detail"))
    return "error_object" if reports_error else "no_score"


def read_health(health: httpx.Response) -> Mapping[str, Any]:
    """Return the server's description of itself; empty without `/health`. Raises UnreadableError for other content."""
    if not health.is_success:
        return {}
    try:
        description = health.json()
    except (ValueError, RecursionError) as error:
        raise UnreadableError("its /health is no JSON", kind=classify_body(health.text)) from error
    if isinstance(description, dict) and "error" in description and "max_chats" not in description:
        raise UnreadableError("its /health reports an error", kind="error_object")
    return description if isinstance(description, dict) else {}


def read_max_chats(description: Mapping[str, Any]) -> int | None:
    """Return the maximum number of chats in a request to `/score`; None if the server has no `/score`."""
    if not isinstance(max_chats := description.get("max_chats"), int) or max_chats < 1:
        return None
    trained = "trained" if description.get("trained") else "untrained: it judges zero-shot"
    log.info("PRM server: %s, %s, checksum %s", description.get("model"), trained, description.get("checksum"))
    return max_chats


def parse_scores(response: httpx.Response, count: int) -> Scores | httpx.Response:
    """Return the scores in a response of `/score`; the response itself if the request was too large."""
    if response.status_code == TOO_LARGE:
        return response
    values, tokens = read_member(response, "scores"), read_member(response, "tokens")
    prompt_tokens = response.json().get("tokens_asked", tokens)  # which servers of version 0.1 do not tell
    if not isinstance(values, list) or len(values) != count or not {type(tokens), type(prompt_tokens)} <= {int}:
        raise CodeToolError(
            f"{response.url} answered scores={values!r} tokens={tokens!r}; a list of {count} numbers and one number "
            "are needed. Does prm.base_url name a server of this version?"
        )
    return Scores(tuple(parse_probability(response, value) for value in values), prompt_tokens, tokens)


def read_member(response: httpx.Response, name: str) -> Any:
    """Return the member `name` of a JSON response. Raises CodeToolError if there is none."""
    try:
        return response.raise_for_status().json()[name]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError, RecursionError) as error:
        expected_value = {"response": "number", "scores": "[number, …]", "tokens": "number"}[name]
        raise CodeToolError(
            f"{response.url} answered HTTP {response.status_code} {response.text[:200]!r}; "
            f'{{"{name}": {expected_value}}} is needed. Does prm.base_url name a PRM server?'
        ) from error


def parse_probability(response: httpx.Response, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise CodeToolError(
            f"{response.url} answered response={value!r}; a probability in [0, 1] is needed. "
            "Let the server return the softmax over its two label tokens."
        )
    return float(value)


def _describe_error(error: httpx.RequestError) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
