"""Guesses of the next tokens of a text: those that last followed the same two or three tokens in any text.

A decoder checks a draft in the pass that computes the next token anyway. Its time is that of reading the weights, so
a few more tokens cost little, and each that was guessed right saves a pass (Saxena 2023, "prompt lookup decoding"; Fu
et al. 2024, arXiv 2402.02057). Programs for one API repeat each other, so most guesses are right. Samples do not depend
on drafts: a candidate samples from the logits at each position, and goes on along the draft only where it drew it.
"""

from __future__ import annotations

from collections.abc import Sequence

CONTEXT_TOKENS = (3, 2)
"""Numbers of preceding tokens by which a guess is looked up, the longest first."""
MAX_ENTRIES = 400_000
"""Number of entries above which the table starts anew; 400,000 take about 60 MB."""


class DraftTable:
    """Tokens by the tokens before them, in all texts added so far."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, ...], int] = {}

    def add_prompt(self, tokens: Sequence[int]) -> None:
        """Add a prompt; what is known from texts or earlier prompts stays."""
        self._bound()
        for end in range(CONTEXT_TOKENS[-1], len(tokens)):
            for count in CONTEXT_TOKENS:
                self._next.setdefault(tuple(tokens[max(0, end - count) : end]), tokens[end])

    def add_last(self, tokens: Sequence[int]) -> None:
        """Add the last token of a text that is being generated; it replaces the former guess."""
        self._bound()
        for count in CONTEXT_TOKENS:
            if len(tokens) > count:
                self._next[tuple(tokens[-count - 1 : -1])] = tokens[-1]

    def draft(self, tokens: Sequence[int], count: int) -> list[int]:
        """Return up to `count` guessed tokens after a text; fewer where nothing is known of what follows."""
        text = list(tokens[-CONTEXT_TOKENS[0] :])
        known = len(text)
        while len(text) < known + count:
            guesses = (self._next.get(tuple(text[-size:])) for size in CONTEXT_TOKENS)
            guess = next((guess for guess in guesses if guess is not None), None)
            if guess is None:
                break
            text.append(guess)
        return text[known:]

    def _bound(self) -> None:
        if len(self._next) > MAX_ENTRIES:
            self._next.clear()
