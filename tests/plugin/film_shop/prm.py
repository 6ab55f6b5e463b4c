"""PRMs: one of a few lines, and one that is a language model, which can be trained and served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, InstanceOf, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import ModelServers, ScoringPrompt
from codetool.model_types import Scores
from codetool.models.locate import ModelFolders
from codetool.prm.label_scorer import LabelScores
from codetool.prm.pointwise import PointwisePRM
from codetool.runs.operational import Operational
from codetool.types import Execution, Node, Step, Task


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LengthPRM:
    """Scores a step by its length: the shorter, the better."""

    half: PositiveInt
    """Length in characters of a step whose score is 0.5."""
    usd_per_million: Annotated[float, Operational]
    """Price of a million tokens in USD; it changes no result."""

    @property
    def sees_observation(self) -> bool:
        """Return False: it scores steps before they run."""
        return False

    def usd(self, tokens_in: int, tokens_out: int) -> float:
        """Return the price of the tokens in USD."""
        return tokens_in * self.usd_per_million / 1e6

    def checksum(self) -> None:
        """Return None: no files determine its scores."""

    def weights(self) -> None:
        """Return None: no server has to be started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[LengthPRM]:
        """Yield this object."""
        yield self

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return a number in (0, 1] for each step; a character counts as a token."""
        lengths = [len(step.text) for step in candidates]
        return Scores(tuple(self.half / (self.half + length) for length in lengths), sum(lengths))


class LengthScorer:
    """Scores chats by their length."""

    async def score_chats(self, chats: Sequence[Any], name: str, *, new: bool) -> LabelScores:
        """Return a number in (0, 1] for each chat."""
        lengths = [sum(len(message["content"]) for message in chat) for chat in chats]
        return LabelScores(tuple(1 / (1 + length) for length in lengths), sum(lengths))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ShopPRM:
    """A language model in a folder: stage=train can train it, and stage=serve_prm serve what scores for it."""

    base: Path
    """Folder of the model."""
    path: Path | None
    """Folder of an adapter that stage=train has made; None for the model as it is."""
    labels: tuple[str, str]
    """Words for high and for low potential, each one token."""
    prompt: InstanceOf[ScoringPrompt]
    """Format of its input."""

    @property
    def model(self) -> str:
        """Return the folder."""
        return str(self.base)

    def checksum(self) -> None:
        """Return None: no files determine its scores."""

    def weights(self) -> None:
        """Return None: no server has to be started."""

    def find_trainable_model(self) -> ModelFolders:
        """Return the folders that training starts from."""
        return ModelFolders(self.base, self.path, local=True)

    def describe(self) -> dict[str, Any]:
        """Return what `/health` shows."""
        return {"model": "shop", "labels": list(self.labels)}

    @asynccontextmanager
    async def open_scorer(self, servers: ModelServers) -> AsyncIterator[LengthScorer]:
        """Yield what stage=serve_prm serves."""
        yield LengthScorer()

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[PointwisePRM]:
        """Yield the PRM that asks the scorer about each step."""
        yield PointwisePRM(LengthScorer(), self.prompt, sees_observation=False)
