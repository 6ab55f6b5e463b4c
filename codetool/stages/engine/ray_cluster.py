"""Join a Ray cluster or start one on this machine, and reach workers that are actors on its nodes.

The only module that imports Ray. What Ray writes lies in its session folder, in the temporary folder; that of a cluster
that was started here is removed with it, also if this process is killed.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from codetool.errors import ConfigError, UnreachableError
from codetool.runs.worker_reaper import end_workers_if_killed, kill_marked_processes, remove_temporary_files
from codetool.stages.engine.reports import Report
from codetool.stages.engine.task_worker import TaskWorker, WorkerOrder
from codetool.stages.engine.worker_pool import CHECK_SECONDS, WorkerLostError
from codetool.types import Task

if TYPE_CHECKING:
    from codetool.stages.engine.ray_engine import RayEngineConfig

MARK_VARIABLE = "CODETOOL_RAY"
"""Environment variable that marks the processes of a cluster that was started here."""
FETCH_SECONDS = 1.0
"""Longest time for which a worker waits for its first report, until it answers that there is none."""
OBJECT_STORE_BYTES = 200 * 2**20
"""Size of the object store of a cluster that is started here; what is larger goes to its session folder."""
THREADS = 4
"""Calls that a worker answers at the same time."""
LOOPBACK = "127.0.0.1"
_TOKEN = secrets.token_hex(32)
"""Token that other users of the machine lack; one for the process, since Ray reads it once."""
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_OWN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}

log = logging.getLogger(__name__)


@contextmanager
def join_cluster(settings: RayEngineConfig) -> Iterator[RayCluster]:
    """Connect to a cluster; without an address, start one on this machine and end it on leaving.

    Call it in the main thread, whose end would end the cluster. Raises UnreachableError, ConfigError.
    """
    with ExitStack() as stack:
        if settings.address is None:
            stack.enter_context(_start_cluster(settings))
        else:
            stack.enter_context(_set_variables(_QUIET))
            _connect(settings, address=settings.address)
            stack.callback(ray.shutdown)
        yield RayCluster(settings)


@contextmanager
def _start_cluster(settings: RayEngineConfig) -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="codetool-ray-")
    log.info("starting a Ray cluster on this machine; engine.address=auto uses one that runs")
    needed = (settings.workers or 1) * settings.cpus_per_worker
    with _set_variables(_QUIET | _OWN), end_workers_if_killed(MARK_VARIABLE, [folder]):
        mark = f"{MARK_VARIABLE}={os.environ[MARK_VARIABLE]}"
        _read_token()
        try:
            _connect(
                settings,
                address="local",
                include_dashboard=False,
                num_cpus=max(os.cpu_count() or 1, -int(-needed // 1)),
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=folder,
                _node_ip_address=LOOPBACK,
            )
            yield
        finally:
            ray.shutdown()
            kill_marked_processes(mark)
            remove_temporary_files([folder])


def _connect(settings: RayEngineConfig, **arguments: Any) -> None:
    try:
        with _keep_signal_handlers():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
    except Exception as error:  # ConnectionError, RuntimeError, or another of its own
        reason = " ".join(str(error).split())[:300]
        raise UnreachableError(
            f"engine.address={settings.address or 'null'}: cannot use this Ray cluster ({reason}). Start one with `ray "
            "start --head`, join this machine to one with `ray start --address=HOST:PORT`, or leave engine.address "
            "out. If the cluster wants a token, as those of Ray 2.60 do, set RAY_AUTH_MODE=token, or "
            "choose engine.address=auto"
        ) from error


def _read_token() -> None:
    """Let Ray read the variables of its token, which it has read when it was imported; versions before have none."""
    with suppress(AttributeError):
        raylet = importlib.import_module("ray._raylet")
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _set_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the context is open."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _keep_signal_handlers() -> Iterator[None]:
    """Restore this process's handlers of the signals that end it, which Ray replaces."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _require_connection() -> None:
    """Raise UnreachableError after the connection has ended: Ray would look for another cluster by itself."""
    if not ray.is_initialized():
        raise UnreachableError("engine=ray: the connection to the Ray cluster has ended. The same command continues")


class RayCluster:
    """A cluster that this process has joined."""

    def __init__(self, settings: RayEngineConfig) -> None:
        """Take the size of workers."""
        self._settings = settings
        self._alive: dict[str, str] = {}
        self._read_at = float("-inf")
        self._orders: list[tuple[WorkerOrder, Any]] = []

    def list_other_machines(self) -> list[str]:
        """Return the addresses of nodes that are not on this machine."""
        own = self.find_address(ray.get_runtime_context().get_node_id())
        return sorted({address for address in self._alive.values() if address != own})

    def count_per_node(self, workers: int) -> int:
        """Return how many workers share a node, if they are spread evenly."""
        return -(-workers // max(len(self._list_fitting()), 1))

    def count_workers(self) -> int:
        """Return the number of workers to start. Raises ConfigError if none fits on a node."""
        return self._settings.workers or len(self._list_fitting())

    def _list_fitting(self) -> list[Mapping[str, float]]:
        """Return the resources of each node on which a worker fits. Raises ConfigError if there is none."""
        wanted = {"CPU": self._settings.cpus_per_worker, "GPU": self._settings.gpus_per_worker}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for name, amount in wanted.items():
            largest = max((node.get(name, 0) for node in nodes), default=0)
            if largest < amount:
                setting = f"engine.{name.lower()}s_per_worker"
                raise ConfigError(f"{setting}={amount:g}: the largest node has {largest:g}. Use {largest:g} or less")
        return [node for node in nodes if all(node.get(name, 0) >= amount for name, amount in wanted.items())]

    def create_worker(self, environment: Mapping[str, str]) -> RayWorker:
        """Create a worker on the node that has the fewest; it waits until there is room.

        Raises UnreachableError after the connection to the cluster has ended.
        """
        _require_connection()
        return RayWorker(self, self._settings, environment)

    def find_address(self, node: str) -> str | None:
        """Return the address of a node by its id, None for one that has been removed."""
        _require_connection()
        if time.monotonic() - self._read_at > CHECK_SECONDS:
            self._alive = {each["NodeID"]: each["NodeManagerAddress"] for each in ray.nodes() if each["Alive"]}
            self._read_at = time.monotonic()
        return self._alive.get(node)

    def share(self, order: WorkerOrder) -> Any:
        """Return a reference to an order, which is sent to each node once."""
        if not self._orders:
            self._orders.append((order, ray.put(order)))
        return self._orders[0][1]


class _Actor(TaskWorker):
    """The worker's side."""

    def locate(self) -> str:
        """Return the id of the worker's node."""
        node: str = ray.get_runtime_context().get_node_id()
        return node


class RayWorker:
    """A worker that is an actor; it ends with this process's connection to the cluster."""

    def __init__(self, cluster: RayCluster, settings: RayEngineConfig, environment: Mapping[str, str]) -> None:
        """Ask Ray for the actor, which starts in the background."""
        self._cluster, self._environment = cluster, environment
        self._node: str | None = None
        self.place = "a node that has no room for it yet"
        self._actor: Any = (
            ray.remote(_Actor)
            .options(
                num_cpus=settings.cpus_per_worker,
                num_gpus=settings.gpus_per_worker,
                scheduling_strategy="SPREAD",
                max_restarts=0,
                max_concurrency=THREADS,
            )
            .remote()
        )

    def is_gone(self) -> bool:
        """Whether the worker's node has been removed; the calls under way may still be answered."""
        return self._node is not None and self._cluster.find_address(self._node) is None

    async def start(self, order: WorkerOrder) -> None:
        """Start the worker once it has a node. Its environment travels in a call alone, which no file holds."""
        self._node = await _call(self._actor.locate.remote())
        self.place = f"node {self._cluster.find_address(self._node) or self._node[:8]}"
        await _call(self._actor.start.remote(self._cluster.share(order), self._environment))

    async def fetch(self) -> list[Report]:
        """Return the worker's new reports."""
        fetched: list[Report] = await _call(self._actor.fetch.remote(FETCH_SECONDS))
        return fetched

    def assign(self, task: Task, attempt: int, known: Sequence[Mapping[str, Any]]) -> None:
        """Let the worker search a task."""
        self._actor.assign.remote(task, attempt, known)

    def stop_searches(self, limit: str) -> None:
        """Let the worker end its searches with their best paths so far."""
        self._actor.stop_searches.remote(limit)

    def close(self) -> None:
        """Let the worker close its components."""
        self._actor.close.remote()

    def kill(self) -> None:
        """End the worker at once."""
        if ray.is_initialized():  # otherwise Ray would look for another cluster
            with suppress(Exception):  # it has ended, or the cluster has
                ray.kill(self._actor)


async def _call(reference: Any) -> Any:
    """Return what a call of an actor returns. Raises WorkerLostError."""
    try:
        return await reference
    except RayError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkerLostError(reason[:200]) from error
