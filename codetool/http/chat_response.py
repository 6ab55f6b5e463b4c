"""Parse the responses of an OpenAI-compatible server: completions, token counts, log-probabilities, model lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import httpx

from codetool.errors import CodeToolError
from codetool.http.token_logprobs import MAX_LOGPROB, TokenLogprobs, parse_token_ids, parse_token_logprobs

MAX_TEXT_CHARS = 200_000
"""Maximum length of one answer; a longer one is cut, and its finish reason is `length`."""
MAX_REASON_CHARS = 100
"""Maximum length of a finish reason, which is recorded with each candidate."""
MAX_TOKEN_COUNT = 2**31
"""Maximum number of tokens of a response; a greater one is an error of the server."""
TEXT_PARTS = frozenset({"text", "output_text", "refusal"})
"""Types of content parts that are text of the answer."""
REASONING_PARTS = frozenset(
    {"thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text", "reasoning_content"}
)
"""Types of content parts that are reasoning before the answer."""
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""Fields of a message that hold reasoning beside its content."""


@dataclass(frozen=True, slots=True)
class Completion:
    """Texts that a server generated for one prompt, and their token counts."""

    texts: tuple[str, ...]
    tokens_in: int
    """Prompt tokens of all requests made for it."""
    tokens_out: tuple[int, ...]
    """New tokens of each text; if the server reports only their sum, it is split in proportion to length."""
    estimated: bool = False
    """Whether the server gave no usage and tokens are characters divided by four."""
    finish_reasons: tuple[str | None, ...] = ()
    """Finish reason of each text: the server's (`stop`, `length`, `content_filter`), or `refusal`, `reasoning_only` or
    `empty` for an answer without text; None if the server gives none."""
    tokens_in_cached: int = 0
    """Those of `tokens_in` that the server read from its cache; 0 if it does not tell."""
    logprobs: tuple[TokenLogprobs | None, ...] = ()
    """Log-probabilities of the tokens of each text, None where the server gives none; empty if none were requested."""
    token_ids: tuple[tuple[int, ...] | None, ...] = ()
    """Ids of the tokens of each text, None where the server gives none; empty if none were requested."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that a server has read and written for one response."""

    tokens_in: int
    tokens_out: int
    tokens_in_cached: int = 0
    """Those of `tokens_in` that the server read from its cache; 0 if it does not tell."""


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Most probable first tokens of an answer with their log-probabilities."""

    logprobs: Mapping[str, float]
    """Natural logarithm of the probability, by the token's text."""
    tokens_in: int
    """Prompt tokens; characters divided by four if the server gives no usage."""
    tokens_computed: int
    """Prompt tokens without those that the server read from its cache."""


def parse_first_token(answer: Mapping[str, Any], body: Mapping[str, Any]) -> FirstToken | None:
    """Parse the first token's log-probabilities of a decoded response, None where it has none."""
    try:
        top_logprobs = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {
            str(entry["token"]): float(entry["logprob"]) for entry in reversed(top_logprobs)
        }  # of two alike the likelier
        if not logprobs or not all(value <= MAX_LOGPROB for value in logprobs.values()):  # NaN is not less either
            return None
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
    usage = _get_mapping(answer, "usage")
    prompt, cached = usage.get("prompt_tokens"), _read_cached_tokens(usage)
    if not _is_token_count(prompt) or not _is_token_count(cached):
        prompt, cached = estimate_prompt_tokens(body), 0
    return FirstToken(logprobs, prompt, prompt - cached)


def parse_completion(answer: Mapping[str, Any], body: Mapping[str, Any]) -> Completion:
    """Parse a decoded response: its choices in the order of their index, and the usage or an estimate of it.

    Raises CodeToolError for content that is not text.
    """
    choices = sorted(answer["choices"], key=_get_index)[: body.get("n", 1)]
    # Half a surrogate pair is valid in JSON but cannot be written to a file.
    contents = [_extract_text(choice["message"]) for choice in choices]
    texts = tuple(content[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode() for content in contents)
    reasons = tuple(
        "length" if len(content) > MAX_TEXT_CHARS else _get_finish_reason(choice, content)
        for choice, content in zip(choices, contents, strict=True)
    )
    logprobs = tuple(map(parse_token_logprobs, choices)) if body.get("logprobs") else ()
    ids = tuple(map(parse_token_ids, choices)) if body.get("return_token_ids") else ()
    if (usage := read_usage(answer)) is not None:
        shares = _split_tokens(usage.tokens_out, [len(text) for text in texts])
        return Completion(texts, usage.tokens_in, shares, False, reasons, usage.tokens_in_cached, logprobs, ids)
    tokens = tuple(-(-len(text) // 4) for text in texts)
    return Completion(texts, estimate_prompt_tokens(body), tokens, True, reasons, logprobs=logprobs, token_ids=ids)


def read_usage(answer: Mapping[str, Any]) -> TokenUsage | None:
    """Return the tokens that a decoded response tells, None without a usable count of both kinds."""
    usage = _get_mapping(answer, "usage")
    tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not _is_token_count(tokens_in) or not _is_token_count(tokens_out):
        return None
    cached = _read_cached_tokens(usage)
    return TokenUsage(tokens_in, tokens_out, min(cached, tokens_in) if _is_token_count(cached) else 0)


def measure_usage(answer: Mapping[str, Any], body: Mapping[str, Any]) -> TokenUsage:
    """Return the tokens of a decoded response, whether or not it can be used; estimated as those of its completion."""
    if (usage := read_usage(answer)) is not None:
        return usage
    try:
        written = sum(parse_completion(answer, body).tokens_out)
    except (CodeToolError, AttributeError, LookupError, TypeError, ValueError):
        written = 0
    return TokenUsage(estimate_prompt_tokens(body), written)


def estimate_prompt_tokens(body: Mapping[str, Any]) -> int:
    """Return the estimated prompt tokens of a request: the characters of its messages divided by four."""
    return -(-sum(len(message["content"]) for message in body.get("messages", ())) // 4)


def _read_cached_tokens(usage: Mapping[str, Any]) -> Any:
    """Return the prompt tokens that a server read from its cache; 0 if it does not tell."""
    return _get_mapping(usage, "prompt_tokens_details").get("cached_tokens") or 0


def _get_index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def _is_token_count(value: Any) -> TypeGuard[int]:
    """Whether a value of a response can be a number of tokens."""
    return isinstance(value, int) and 0 <= value <= MAX_TOKEN_COUNT


def _get_mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object inside another one; empty if there is none."""
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}


def _extract_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message without reasoning, or the text of its refusal."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [] if content is None else [content]
    text = "".join(_extract_part_text(part) for part in parts)
    refusal = message.get("refusal")
    return text or (refusal if isinstance(refusal, str) else "")


def _extract_part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping):
        kind = part.get("type") or ("text" if "text" in part or "refusal" in part else "object without a text")
    else:
        kind = type(part).__name__
    if kind in REASONING_PARTS:
        return ""
    text = part.get("text") or part.get("refusal") or "" if kind in TEXT_PARTS else None
    if isinstance(text, Mapping):
        text = text.get("value")
    if not isinstance(text, str):
        raise CodeToolError(f"an answer holds content of the kind {kind!r}, where text is needed")
    return text


def _get_finish_reason(choice: Mapping[str, Any], text: str) -> str | None:
    """Return the finish reason of a choice; `refusal`, `reasoning_only` or `empty` if it has no text."""
    reason, message = choice.get("finish_reason"), choice["message"]
    reason = str(reason)[:MAX_REASON_CHARS] if reason is not None else None
    if message.get("refusal") and not message.get("content"):
        return "refusal"
    if text or reason not in {None, "stop", "eos", "end_turn"}:
        return reason
    return "reasoning_only" if any(message.get(name) for name in REASONING_FIELDS) else "empty"


def merge_completions(parts: Sequence[Completion]) -> Completion:
    """Merge the completions of several requests into one."""
    return Completion(
        texts=tuple(text for part in parts for text in part.texts),
        tokens_in=sum(part.tokens_in for part in parts),
        tokens_out=tuple(tokens for part in parts for tokens in part.tokens_out),
        estimated=any(part.estimated for part in parts),
        finish_reasons=tuple(reason for part in parts for reason in part.finish_reasons),
        tokens_in_cached=sum(part.tokens_in_cached for part in parts),
        logprobs=tuple(tokens for part in parts for tokens in part.logprobs),
        token_ids=tuple(ids for part in parts for ids in part.token_ids),
    )


def merge_missing(first: Completion, later: Sequence[Completion]) -> tuple[Completion, int]:
    """Merge an answer with the choices that it should have had, so that its tokens are those of a complete answer.

    The prompt counts once, and the new tokens are split over all texts as they are in one answer. Returns the merged
    completion, and the number of new tokens that were generated twice: a server may count choices that it left out.
    """
    merged = merge_completions([first, *later])
    if merged.estimated:
        return replace(merged, tokens_in=first.tokens_in, tokens_in_cached=first.tokens_in_cached), 0
    counted, repeated = sum(first.tokens_out), sum(sum(single.tokens_out) for single in later)
    lengths = [len(text) for text in merged.texts]
    given, missing = sum(lengths[: len(first.texts)]), sum(lengths[len(first.texts) :])
    per_character = repeated / missing if missing else 0.0
    counts_missing = abs(counted - per_character * (given + missing)) < abs(counted - per_character * given)
    total = counted if counts_missing else counted + repeated
    merged = replace(
        merged,
        tokens_in=first.tokens_in,
        tokens_in_cached=first.tokens_in_cached,
        tokens_out=_split_tokens(total, lengths),
    )
    return merged, repeated if counts_missing else 0


def _split_tokens(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split the total into whole numbers in proportion to the weights; they add up to the total."""
    total_weight, shares, assigned = sum(weights) or len(weights), [], 0
    for i in range(len(weights)):
        cumulative = total * (sum(weights[: i + 1]) if sum(weights) else i + 1) // total_weight
        shares.append(cumulative - assigned)
        assigned = cumulative
    return tuple(shares)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in a server's list."""

    name: str
    max_length: int | None = None
    """Maximum number of tokens of prompt and completion, which vLLM and others tell; None if unknown."""


def parse_model_list(response: httpx.Response) -> list[ListedModel]:
    """Parse the list of the served models; empty for another format."""
    try:
        models = response.json()["data"] if response.is_success else []
        return [ListedModel(str(model["id"]), _read_length(model)) for model in models]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def _read_length(model: Any) -> int | None:
    length = model.get("max_model_len") if isinstance(model, dict) else None
    return length if isinstance(length, int) else None
