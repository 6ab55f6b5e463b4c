"""stage=serve_prm: serve a PRM over HTTP until Ctrl-C, for CodeTool's clients and the reference implementation's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from socket import socket
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.prm.generative import GenerativePRM
from codetool.prm.label_scorer import LabelScorer
from codetool.prm.pointwise import PointwisePRM
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.stages.serve.http_server import bind_socket, create_server, format_url, serve_until_interrupted

if TYPE_CHECKING:
    from uvicorn import Server

    from codetool.prm.server import PRMServer

POLL_SECONDS = 0.05  # seconds between two looks whether the server ends


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ServePRMConfig:
    """Settings of stage=serve_prm."""

    host: Annotated[str, Field(min_length=1)]
    """Address or host name to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """TCP port; 0 for a free one."""
    max_chats: PositiveInt
    """Maximum number of chats per request."""
    max_bytes: PositiveInt
    """Maximum size of a request's body in bytes."""
    queue: PositiveInt
    """Maximum number of waiting chats; a request that would exceed it is answered with 503."""
    grace: NonNegativeFloat
    """Seconds that requests in progress get at the end."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.queue < self.max_chats:
            raise ValueError(
                f"serve_prm.queue={self.queue} has no room for a request of serve_prm.max_chats={self.max_chats}; "
                "raise the one or lower the other"
            )
        return self


def serve_prm(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Serve the PRM until Ctrl-C or SIGTERM, then return 0.

    Raises ConfigError if this PRM cannot be served or the address is not available, MissingError without a model.
    """
    prm = _check_prm(config, choices)
    about = _describe_prm(prm)
    with bind_socket("serve_prm", config.serve_prm.host, config.serve_prm.port) as listener:
        trained = f" with {prm.path}" if prm.path else ", untrained: it judges zero-shot"
        message = f"stage=serve_prm prm={choices['prm']}: {prm.model}{trained}; Ctrl-C ends it"
        console.print(message, highlight=False, soft_wrap=True)
        if not config.dry_run:
            with suppress(KeyboardInterrupt):  # before the server has begun
                asyncio.run(_serve(config, prm, about, config.serve_prm, listener))
            console.print("Stopped.", highlight=False)
    return 0


def _check_prm(config: RunConfig, choices: Mapping[str, str]) -> GenerativePRM:
    prm = config.prm
    if not isinstance(prm, GenerativePRM):
        raise ConfigError(
            f"stage=serve_prm: prm={choices['prm']} has no model to serve; name a PRM with one that judges a step at a "
            "time: prm=smollm2, prm=qwen7b or prm=llama8b, with prm.path=FOLDER what stage=train has made of it."
        )
    if isinstance(prm.prompt, PairwisePRMPrompt):
        raise ConfigError(
            f"stage=serve_prm: prm={choices['prm']} compares candidates, and a server's answer is one score for each "
            "chat; name a PRM that judges a step at a time, prm=smollm2 or prm=qwen7b."
        )
    return prm


def _describe_prm(prm: GenerativePRM) -> dict[str, Any]:
    """Return the description of the PRM for `/health`; `prompt` is the one it was trained with, null if unknown.

    Raises MissingError without a model, ConfigError if `prm.prompt` differs from the model's prompt.
    """
    return {
        "model": prm.model,
        "path": prm.path.name if prm.path else None,
        "trained": prm.path is not None,
        "checksum": prm.checksum(),
        "labels": list(prm.labels),
        "prompt": prm.check_prompt(),
        "score": prm.score,
        "sees_observation": prm.sees_observation,
        "precision": prm.precision,
        "version": version("codetool"),
    }


async def _serve(
    config: RunConfig, prm: GenerativePRM, about: Mapping[str, Any], settings: ServePRMConfig, listener: socket
) -> None:
    weights = await asyncio.to_thread(prm.weights)
    planned, folder = [weights] if weights else [], config.outputs / config.stage
    if planned:
        folder.mkdir(parents=True, exist_ok=True)
    async with config.vllm.open(planned, folder) as servers, prm.open(servers) as live:
        assert isinstance(live, PointwisePRM)
        served = _create_prm_server(live.scorer, about, settings)
        running = create_server(served.app, settings.grace + 1)
        ending = asyncio.create_task(_end_requests(running, served, settings.grace))
        print(f"{format_url(settings.host, listener)} answers {', '.join(served.paths)}", flush=True)
        await serve_until_interrupted(running, listener)
        ending.cancel()


def _create_prm_server(scorer: LabelScorer, about: Mapping[str, Any], settings: ServePRMConfig) -> PRMServer:
    from codetool.prm.local_scorer import LocalScorer  # torch and FastAPI take seconds: only after every check
    from codetool.prm.server import PRMServer, RequestLimits

    limits = RequestLimits(settings.max_chats, settings.queue, settings.max_bytes)
    if not isinstance(scorer, LocalScorer):
        return PRMServer(scorer, about, limits)
    limits = replace(limits, max_characters=scorer.max_characters)
    served = PRMServer(scorer, about, limits, scorer.count_tokens)
    scorer.on_progress(served.metrics.count_pass)
    return served


async def _end_requests(running: Server, served: PRMServer, grace: float) -> None:
    """When the server ends, give requests in progress `grace` seconds, then end them."""
    while not running.should_exit:
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(grace)
    served.shut_down()
