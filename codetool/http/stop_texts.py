"""Cut completions at stop texts, for servers that do not stop there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from codetool.http.chat_response import Completion
from codetool.http.token_logprobs import cut_tokens


def cut_at_stop(completion: Completion, stop: Sequence[str]) -> Completion:
    """Cut each text of a completion and its tokens at the first stop text in it."""
    texts = tuple(
        min((text.split(stop_text, 1)[0] for stop_text in stop if stop_text), key=len, default=text)
        for text in completion.texts
    )
    logprobs = tuple(
        tokens if text == full_text else cut_tokens(tokens, len(text))
        for tokens, text, full_text in zip(completion.logprobs, texts, completion.texts, strict=False)
    )
    kept = [None if tokens is None else len(tokens) for tokens in logprobs]
    token_ids = tuple(
        ids if text == full_text or ids is None else ids[:count]
        for ids, text, full_text, count in zip(completion.token_ids, texts, completion.texts, kept, strict=False)
    )
    return replace(completion, texts=texts, logprobs=logprobs, token_ids=token_ids)
