"""engine=ray: search tasks in workers on the nodes of a Ray cluster; this process has the run folder and writes it."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.credentials.settings_secrets import find_key_variables
from codetool.errors import ConfigError, MissingError, UnreachableError
from codetool.stages.engine.engine import EngineConfig, RunJob
from codetool.stages.engine.fixed_servers import FixedServers
from codetool.stages.engine.task_worker import WorkerOrder
from codetool.stages.engine.worker_pool import WorkerPool, open_pool
from codetool.stages.evaluate.components import list_weights

FORWARDED = (
    "CODETOOL_",
    "HF_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_",
    "REQUESTS_CA_BUNDLE",
)
"""Begin of the names of further environment variables that workers get, in upper or lower case."""
CONNECT_SECONDS = 5.0
"""Time within which the address of a cluster must accept a connection."""
IN_PROCESS = "transformers"
"""Value of `backend` of a policy or PRM whose weights each worker loads."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RayEngineConfig(EngineConfig):
    """Settings of the engine that searches tasks on the nodes of a Ray cluster."""

    address: Annotated[str, Field(min_length=1)] | None
    """Cluster to use: `auto` or `HOST:PORT` of one that this machine has joined; None starts one on this machine."""
    workers: PositiveInt | None
    """Number of workers; None is one on each node of the cluster."""
    tasks_per_worker: PositiveInt
    """Maximum number of tasks that a worker searches at the same time."""
    cpus_per_worker: NonNegativeFloat
    """CPUs that Ray reserves for a worker."""
    gpus_per_worker: NonNegativeFloat
    """GPUs that Ray reserves for a worker."""

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        host, colon, port = (address or "").rpartition(":")
        if address is None or address == "auto" or (host and colon and port.isdigit() and "/" not in host):
            return address
        raise ValueError(
            "should be null (start a cluster on this machine), auto, or HOST:PORT of a cluster that this machine has "
            "joined with `ray start --address=HOST:PORT`"
        )

    def check(self) -> None:
        """Raise MissingError if Ray is not installed."""
        if importlib.util.find_spec("ray") is None:
            raise MissingError("engine=ray: Ray is not installed. Install it with `pip install -e '.[ray]'`.")

    @asynccontextmanager
    async def open(self, job: RunJob) -> AsyncIterator[WorkerPool]:
        """Join or start the cluster, start the workers, and end all that was started.

        Raises UnreachableError if there is no cluster, ConfigError if no worker fits on a node of it, and what a worker
        raises if none can start.
        """
        if self.address is not None:
            require_address(self.address)
        from codetool.stages.engine.ray_cluster import join_cluster  # here: importing Ray takes seconds

        config = job.search.config
        with join_cluster(self) as cluster:
            count = min(cluster.count_workers(), max(len(job.tasks), 1))
            weights = await list_weights(config)
            if weights:
                _require_one_machine(cluster.list_other_machines())
            per_node = cluster.count_per_node(count)
            if per_node > 1 and IN_PROCESS in {getattr(part, "backend", None) for part in (config.policy, config.prm)}:
                log.info("each of the %d workers of a node loads a model of its own", per_node)
            async with config.vllm.open(weights, job.recorder.folder.path) as servers:
                served = FixedServers({each: await servers.serve(each) for each in weights})
                order = WorkerOrder(job.search, served, per_node, str(Path.cwd()))
                create = partial(cluster.create_worker, select_environment(config.settings, os.environ))
                async with open_pool(job, order, create, count, self.tasks_per_worker) as pool:
                    yield pool


def _require_one_machine(others: Sequence[str]) -> None:
    """Raise ConfigError if a cluster has nodes on other machines, which the run's own model servers do not answer."""
    if others:
        raise ConfigError(
            "engine=ray: the vLLM servers that a run starts listen on this machine alone, and the cluster has nodes on "
            f"others, such as {others[0]}. Start a server yourself (docs/how_to/vllm.md) and name it, for example "
            "policy.backend=endpoint policy.base_url=URL."
        )


def select_environment(settings: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that workers get: keys that the settings name, proxies and data folders."""
    named = find_key_variables(settings)
    return {name: value for name, value in environment.items() if name in named or name.upper().startswith(FORWARDED)}


def require_address(address: str) -> None:
    """Raise UnreachableError if nothing answers at HOST:PORT, or at the one that `auto` finds.

    Ray itself would try for two minutes.
    """
    host, _, port = (find_current_cluster() if address == "auto" else address).rpartition(":")
    if not host or not port.isdigit():
        return  # Ray says that it knows no cluster
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        named = f" ({host}:{port})" if address == "auto" else ""
        raise UnreachableError(
            f"engine.address={address}{named}: nothing answers there ({error.strerror or error}). Start a cluster with "
            "`ray start --head`, which prints its address"
        ) from error


def find_current_cluster() -> str:
    """Return the address of the cluster that `ray start` has last started or joined here; empty if there is none.

    Ray keeps it in a file, which stays when the cluster dies.
    """
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    file = Path(folder) / "ray" / "ray_current_cluster"
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
