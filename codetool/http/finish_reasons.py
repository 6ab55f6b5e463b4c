"""Finish reasons of chat servers: OpenAI's names for those of other servers, and those that explain a missing text."""

from __future__ import annotations

LENGTH = "length"
CONTENT_FILTER = "content_filter"
_SYNONYMS = {
    "max_tokens": LENGTH,
    "max_output_tokens": LENGTH,
    "safety": CONTENT_FILTER,
    "recitation": CONTENT_FILTER,
    "blocklist": CONTENT_FILTER,
    "prohibited_content": CONTENT_FILTER,
    "spii": CONTENT_FILTER,
}


def normalize_finish_reason(reason: object) -> str:
    """Return OpenAI's name of a finish reason: `SAFETY` is `content_filter`; empty for None.

    Detail after a colon is left out (`content_filter: RECITATION`).
    """
    name = str(reason or "").partition(":")[0].strip().lower()
    return _SYNONYMS.get(name, name)


def explains_missing_text(reason: object) -> bool:
    """Whether an answer may lack a message for this reason: it was filtered, or cut before its first token."""
    return normalize_finish_reason(reason) in {LENGTH, CONTENT_FILTER}
