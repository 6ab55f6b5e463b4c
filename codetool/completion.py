"""What a chat server answered, read from an OpenAI-compatible response: texts, token counts, its models, its wishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Completion:
    """The candidates for one prompt and what they cost."""

    texts: tuple[str, ...]
    tokens_in: int
    """Prompt tokens of all requests made for it."""
    tokens_out: tuple[int, ...]
    """New tokens, one number a text; where the server gives only their sum it is shared out by length."""
    estimated: bool = False
    """Whether the server gave no usage and tokens are characters divided by four."""


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The most probable first tokens of an answer."""

    logprobs: Mapping[str, float]
    """Natural logarithm of the probability by the token's text."""
    tokens_in: int
    """Prompt tokens that the server really read: those it says it had cached are left out. Characters divided by four
    where it says nothing."""


def first_token(answer: Mapping[str, Any], body: Mapping[str, Any]) -> FirstToken | None:
    """What a decoded answer tells of its first token, None where it tells no log-probabilities."""
    try:
        told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {str(each["token"]): float(each["logprob"]) for each in reversed(told)}  # of two alike the likelier
    except (LookupError, TypeError, ValueError):
        return None
    usage = answer.get("usage") or {}
    prompt, cached = usage.get("prompt_tokens"), (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    if not isinstance(prompt, int):
        prompt, cached = -(-sum(len(message["content"]) for message in body["messages"]) // 4), 0
    return FirstToken(logprobs, prompt - (cached or 0))


def completion(answer: Mapping[str, Any], body: Mapping[str, Any]) -> Completion:
    """The choices of a decoded answer in the order of their index, and the usage or an estimate of it."""
    choices = sorted(answer["choices"], key=lambda choice: choice.get("index") or 0)[: body.get("n", 1)]
    # Half a surrogate pair is valid in JSON but cannot be written to a file.
    contents = [str(choice["message"].get("content") or "") for choice in choices]
    texts = tuple(content.encode("utf-8", "replace").decode() for content in contents)
    usage = answer.get("usage") or {}
    tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(tokens_in, int) and isinstance(tokens_out, int):
        return Completion(texts, tokens_in, _shared(tokens_out, [len(text) for text in texts]))
    prompt = sum(len(message["content"]) for message in body["messages"])
    return Completion(texts, -(-prompt // 4), tuple(-(-len(text) // 4) for text in texts), estimated=True)


def joined(parts: Sequence[Completion]) -> Completion:
    """The candidates and costs of several requests as one."""
    return Completion(
        texts=tuple(text for part in parts for text in part.texts),
        tokens_in=sum(part.tokens_in for part in parts),
        tokens_out=tuple(tokens for part in parts for tokens in part.tokens_out),
        estimated=any(part.estimated for part in parts),
    )


def _shared(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """The total as whole numbers in proportion to the weights; they add up to it exactly."""
    whole, shares, given = sum(weights) or len(weights), [], 0
    for i in range(len(weights)):
        upto = total * (sum(weights[: i + 1]) if sum(weights) else i + 1) // whole
        shares.append(upto - given)
        given = upto
    return tuple(shares)


def decoded(response: httpx.Response) -> dict[str, Any] | None:
    """The answer if it is a chat completion with at least one choice."""
    try:
        answer = response.json()
        answer["choices"][0]["message"]
    except (ValueError, LookupError, TypeError):
        return None
    return answer if isinstance(answer, dict) else None


def served(response: httpx.Response) -> list[str]:
    """The names of the served models; empty where the server does not tell."""
    try:
        return [str(model["id"]) for model in response.json()["data"]] if response.is_success else []
    except (ValueError, LookupError, TypeError):
        return []


def retry_after(response: httpx.Response) -> float:
    """Seconds of the Retry-After header, which is a number or a date (RFC 9110, 10.2.3); 0 where there is none."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
