"""Share requests among several servers of one model, its replicas, so that a task stays with one of them.

A server caches the prefixes of prompts that it has read, and the prompts of a task share long prefixes. So each task
has its own order of the servers, by rendezvous hashing, and its requests go to the first server that answers. A server
that has used up the retries of a request is left: its tasks go to the next server of their order, and come back once it
answers a probe. When a server comes or goes, no task of another server moves.

Thaler and Ravishankar: Using name-based mappings to increase hit rates. IEEE/ACM Transactions on Networking, 1998.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, Self, TypeVar

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.http.fault_counts import collect_faults, report_all, report_given_up
from codetool.http.user_errors import NoTextError

log = logging.getLogger(__name__)

MAX_PROBE_SECONDS = 30.0
"""Maximum seconds between two probes of a server that was left."""

T = TypeVar("T")

_task_key: ContextVar[str | None] = ContextVar("replica_task_key", default=None)


@contextmanager
def stick_to_replica(key: str) -> Iterator[None]:
    """Send all requests in the context to the same server of a model; `key` is a task's id, for example."""
    token = _task_key.set(key)
    try:
        yield
    finally:
        _task_key.reset(token)


def get_task_key() -> str | None:
    """Return the key of the innermost `stick_to_replica`, None outside of one."""
    return _task_key.get()


def compute_rank(key: str, address: str) -> bytes:
    """Return the rank of a server for a key; the server with the highest one comes first."""
    return hashlib.sha256(f"{key}\0{address}".encode()).digest()


class Replica(ABC):
    """One of several servers of a model."""

    address: str
    """Address of the server, as the setting has it."""
    is_left: bool = False
    """Whether it has stopped answering; further retries are then pointless."""
    is_ready: bool = False
    """Whether it has been found to serve the model, so that it may be sent requests."""
    answered: int = 0
    """Number of requests that it has answered."""

    @abstractmethod
    async def check(self, *, probe: bool) -> Mapping[str, Any]:
        """Connect if necessary, and return what the server tells about its model; empty if it tells nothing.

        With `probe`, the server must also answer a small request. Raises UnreachableError, ConfigError, MissingError.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""


R = TypeVar("R", bound=Replica)


class ReplicaSet(Generic[R]):
    """The servers of one model; an asynchronous context manager that checks them on entry."""

    def __init__(self, setting: str, replicas: Sequence[R], *, service: str, backoff: float) -> None:
        """Take the setting that names the servers, `policy.base_url`, and the servers.

        `service` is the name under which faults are counted; `backoff` is the seconds before the first probe of a
        server that was left, doubled for each further one.
        """
        self._setting, self._replicas, self._service, self._backoff = setting, tuple(replicas), service, backoff
        self._description: Mapping[str, Any] = {}
        """What the first server that answered tells about its model."""
        self._described_address = ""
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._delays: dict[str, float] = {}
        """Seconds before the next probe of a server, by its address; absent once it has answered a request."""
        self._context: Context | None = None

    async def __aenter__(self) -> Self:
        """Raises UnreachableError if no server answers, ConfigError or MissingError if one cannot be used."""
        self._context = copy_context()  # that of the run, not that of the task that first finds a server gone
        try:
            if len(self._replicas) == 1:
                await self._check(self._replicas[0], probe=False)
            else:
                await self._check_all()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the probes and close every connection."""
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        if len(self._replicas) > 1 and any(replica.answered for replica in self._replicas):
            counts = ", ".join(f"{replica.answered} by {replica.address}" for replica in self._replicas)
            log.info("%s: requests answered: %s", self._setting, counts)
        for replica in self._replicas:
            await replica.close()

    def find_ready(self) -> R:
        """Return the first server that answers, for requests outside of any task."""
        return next((each for each in self._replicas if each.is_ready and not each.is_left), self._replicas[0])

    async def call(self, key: str, send: Callable[[R], Awaitable[T]]) -> T:
        """Send a request to the first server of the key's order that answers, and return what `send` returns.

        Servers that were left are tried last. Raises UnreachableError if no server answers, and whatever else `send`
        raises, for other servers would refuse the request as well.
        """
        if len(self._replicas) == 1:
            return await send(self._replicas[0])
        failures: list[UnreachableError] = []
        tried = set[str]()
        while (replica := self._choose(key, tried)) is not None:
            tried.add(replica.address)
            try:
                answer = await send(replica)
            except NoTextError:
                report_given_up(self._service)
                raise  # the server answers, but not this prompt
            except UnreachableError as error:
                failures.append(error)
                self._leave(replica, error)
                continue
            self._count_answer(replica)
            return answer
        report_given_up(self._service)
        raise self._make_error(failures)

    def _choose(self, key: str, tried: set[str]) -> R | None:
        """Return the server that a request is sent to next; None if all were tried."""
        left = [replica for replica in self._replicas if replica.is_ready and replica.address not in tried]
        return max(left, key=lambda each: (not each.is_left, compute_rank(key, each.address)), default=None)

    def _make_error(self, failures: Sequence[UnreachableError]) -> UnreachableError:
        addresses = ", ".join(replica.address for replica in self._replicas)
        reason = failures[-1] if failures else "those that answer serve another model; see the warnings above"
        return UnreachableError(
            f"None of the {len(self._replicas)} servers of {self._setting} answers ({addresses}). The last one: "
            f"{reason}"
        )

    def _count_answer(self, replica: R) -> None:
        replica.answered += 1
        self._delays.pop(replica.address, None)
        if replica.is_left:
            self._take_back(replica)

    def _leave(self, replica: R, error: UnreachableError) -> None:
        """Send the server's tasks to others until a probe is answered."""
        if replica.is_left:
            return
        replica.is_left = True
        log.warning("%s is left until it answers again, and its tasks go to other servers: %s", replica.address, error)
        self._start_probe(replica)

    def _take_back(self, replica: R) -> None:
        replica.is_left = False
        log.warning("%s answers again, and its tasks go back to it", replica.address)

    async def _check_all(self) -> None:
        """Check all servers at once, and leave out those that do not answer. Raises UnreachableError, ConfigError."""

        async def check(replica: R) -> UnreachableError | None:
            failure = None
            with collect_faults() as faults:
                try:
                    await self._check(replica, probe=False)
                except UnreachableError as error:
                    failure = error
                    faults.amounts.clear()  # no request is given up as long as another server answers
            report_all(faults)
            return failure

        failures = await gather_or_cancel(check(replica) for replica in self._replicas)
        if None not in failures:
            report_given_up(self._service)
            raise self._make_error([error for error in failures if error is not None])
        for replica, error in zip(self._replicas, failures, strict=True):
            if error is not None:
                self._leave(replica, error)

    async def _check(self, replica: R, *, probe: bool) -> None:
        """Check one server. Raises ConfigError if it serves another model than the others."""
        description = await replica.check(probe=probe)
        if description and not self._description:
            self._description, self._described_address = description, replica.address
        for name, expected in self._description.items() if description else ():
            if description.get(name) != expected:
                found, first = description.get(name), self._described_address
                raise ConfigError(
                    f"{self._setting} names servers of different models: {name} is {expected!r} at {first} and "
                    f"{found!r} at {replica.address}. Name only servers that serve the same model."
                )
        replica.is_ready = True

    def _start_probe(self, replica: R) -> None:
        running = self._probes.get(replica.address)
        if running is not None and not running.done():
            return
        context = self._context and self._context.copy()  # probes collect their faults apart from each other
        self._probes[replica.address] = asyncio.get_running_loop().create_task(self._probe(replica), context=context)

    async def _probe(self, replica: R) -> None:
        """Ask a server that was left again and again, until it answers or is taken back for an answer to a task."""
        told = set[str]()
        while replica.is_left:
            delay = self._delays.get(replica.address, self._backoff)
            self._delays[replica.address] = min(2 * delay, MAX_PROBE_SECONDS)
            await asyncio.sleep(delay)
            try:
                with collect_faults():  # what a probe meets is no fault of the run
                    await self._check(replica, probe=True)
            except UnreachableError:
                continue
            except CodeToolError as error:
                replica.is_ready = False
                if str(error) not in told:
                    log.warning("%s answers, but is not used: %s", replica.address, error)
                told.add(str(error))
                continue
            if replica.is_left:
                self._take_back(replica)
