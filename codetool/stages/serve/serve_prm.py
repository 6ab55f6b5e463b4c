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
from codetool.interfaces import Servable
from codetool.prm.label_scorer import LabelScorer, MeasuringScorer
from codetool.stages.hub_models import download_models, find_hub_models, print_downloads
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
    about = {**prm.describe(), "version": version("codetool")}
    with bind_socket("serve_prm", config.serve_prm.host, config.serve_prm.port) as listener:
        place = getattr(prm, "path", None)
        trained = f" with {place}" if place else ""
        untrained = "" if about.get("trained", True) else ", untrained: it judges zero-shot"
        model = about.get("model") or choices["prm"]
        message = f"stage=serve_prm prm={choices['prm']}: {model}{trained}{untrained}; Ctrl-C ends it"
        console.print(message, highlight=False, soft_wrap=True)
        models = find_hub_models(config, ("prm",))
        print_downloads(models, console, "would be downloaded" if config.dry_run else "downloading")
        if not config.dry_run:
            with suppress(KeyboardInterrupt):  # before the server has begun
                download_models(models)
                asyncio.run(_serve(config, prm, about, config.serve_prm, listener))
            console.print("Stopped.", highlight=False)
    return 0


def _check_prm(config: RunConfig, choices: Mapping[str, str]) -> Servable:
    if not isinstance(config.prm, Servable):
        raise ConfigError(
            f"stage=serve_prm: prm={choices['prm']} has no model to serve; name a PRM with one that judges a step at a "
            "time: prm=smollm2, prm=qwen7b or prm=llama8b, with prm.path=FOLDER what stage=train has made of it."
        )
    return config.prm


async def _serve(
    config: RunConfig, prm: Servable, about: Mapping[str, Any], settings: ServePRMConfig, listener: socket
) -> None:
    weights = await asyncio.to_thread(prm.weights)
    planned, folder = [weights] if weights else [], config.outputs / config.stage
    if planned:
        folder.mkdir(parents=True, exist_ok=True)
    async with config.vllm.open(planned, folder) as servers, prm.open_scorer(servers) as scorer:
        served = _create_prm_server(scorer, about, settings)
        running = create_server(served.app, settings.grace + 1)
        ending = asyncio.create_task(_end_requests(running, served, settings.grace))
        print(f"{format_url(settings.host, listener)} answers {', '.join(served.paths)}", flush=True)
        await serve_until_interrupted(running, listener)
        ending.cancel()


def _create_prm_server(scorer: LabelScorer, about: Mapping[str, Any], settings: ServePRMConfig) -> PRMServer:
    from codetool.prm.server import PRMServer, RequestLimits  # FastAPI takes a second: only after every check

    limits = RequestLimits(settings.max_chats, settings.queue, settings.max_bytes)
    if not isinstance(scorer, MeasuringScorer):
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
