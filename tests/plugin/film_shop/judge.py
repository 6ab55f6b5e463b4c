"""Judge of final answers without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.judges.endpoint_judge import Comparison, Judgement
from codetool.judges.votes import Vote, VoteSettings


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DigitJudge:
    """Takes every answer with a digit in it for solved, and any two answers for equally good."""

    model: str
    """Name that results show."""
    max_tokens: int = 1

    def usd(self, tokens_in: int, tokens_out: int) -> None:
        """Return None: its tokens have no price."""

    def build_vote_settings(self, seed: int) -> VoteSettings:
        """Return the settings of a vote."""
        return VoteSettings(self.model, None, self.max_tokens, seed)

    async def probe(self) -> None:
        """Do nothing: there is no server to reach."""

    def build_vote_requests(self, case: Any) -> list[Any]:
        """Return no requests."""
        return []

    async def judge(self, cases: Sequence[Any], file: Path, seed: int, count: Any = None) -> list[Judgement]:
        """Return one vote on each answer."""
        solved = [any(letter.isdigit() for letter in case.answer) for case in cases]
        return [Judgement((Vote("Solved" if is_solved else "Unsolved"),)) for is_solved in solved]

    def build_comparison_requests(self, pair: Any, judged: Any) -> list[Any]:
        """Return no requests."""
        return []

    async def compare(self, pairs: Any, judgements: Any, file: Path, seed: int, count: Any = None) -> list[Comparison]:
        """Return a tie for each pair."""
        return [Comparison("tie") for _ in pairs]
