"""A PRM that stages train and serve, and a judge: each the least that its Protocol allows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, InstanceOf
from pydantic.dataclasses import dataclass

from codetool.interfaces import ModelServers
from codetool.judges.endpoint_judge import Comparison, Judgement
from codetool.judges.votes import Vote, VoteSettings
from codetool.models.locate import ModelFolders
from codetool.prm.label_scorer import LabelScores
from codetool.prm.pointwise import PointwisePRM
from codetool.prompts.prm_prompt import PRMPrompt


class LengthScorer:
    """Scores a chat by its length."""

    async def score_chats(self, chats: Sequence[Any], name: str, *, new: bool) -> LabelScores:
        """Between 0 and 1."""
        lengths = [sum(len(message["content"]) for message in chat) for chat in chats]
        return LabelScores(tuple(1 / (1 + length) for length in lengths), sum(lengths))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ShopPRM:
    """A language model of the shop that can be trained, and is served by the length of its prompts."""

    base: Path
    labels: tuple[str, str]
    prompt: InstanceOf[PRMPrompt]

    @property
    def model(self) -> str:
        """The folder."""
        return str(self.base)

    def checksum(self) -> None:
        """None."""

    def weights(self) -> None:
        """None."""

    def find_trainable_model(self) -> ModelFolders:
        """The folder."""
        return ModelFolders(self.base, None, local=True)

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"model": "shop", "labels": list(self.labels)}

    @asynccontextmanager
    async def open_scorer(self, servers: ModelServers) -> AsyncIterator[LengthScorer]:
        """The scorer."""
        yield LengthScorer()

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[PointwisePRM]:
        """The PRM of the scorer."""
        yield PointwisePRM(LengthScorer(), self.prompt, sees_observation=False)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ShopJudge:
    """Takes every answer with a digit in it for solved."""

    model: str
    max_tokens: int = 1

    def usd(self, tokens_in: int, tokens_out: int) -> None:
        """None."""

    def build_vote_settings(self, seed: int) -> VoteSettings:
        """Nothing is asked."""
        return VoteSettings(self.model, None, self.max_tokens, seed)

    async def probe(self) -> None:
        """Nothing to probe."""

    def build_vote_requests(self, case: Any) -> list[Any]:
        """None."""
        return []

    async def judge(self, cases: Sequence[Any], file: Path, seed: int, count: Any = None) -> list[Judgement]:
        """One vote on each."""
        solved = [any(letter.isdigit() for letter in case.answer) for case in cases]
        return [Judgement((Vote("Solved" if each else "Unsolved"),)) for each in solved]

    def build_comparison_requests(self, pair: Any, judged: Any) -> list[Any]:
        """None."""
        return []

    async def compare(self, pairs: Any, judgements: Any, file: Path, seed: int, count: Any = None) -> list[Comparison]:
        """All are alike."""
        return [Comparison("tie") for _ in pairs]
