"""Model of a run: tasks that a policy, a PRM, sandboxes and tools work on, and the seconds and money that it takes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import log

from simulation import BatchServer, Process, Queue, RateLimit, Simulation


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """A model server of one node."""

    latency: float
    """Seconds of a request apart from its tokens."""
    latency_spread: float = 0.0
    """Standard deviation of the latency divided by it; the latency is drawn from a log-normal distribution."""
    concurrency: int = 10**9
    """Maximum number of requests at the same time."""
    first_token_time: float = 0.0
    """Seconds of a new token if only one sequence is generated."""
    batch_token_time: float = 0.0
    """Further seconds of a new token for each sequence that is generated at the same time."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a task needs, a search that keeps the best of several candidates of each step."""

    candidates: tuple[int, ...]
    """Number of candidates with different programs in each step; its length is the number of steps."""
    tool_calls: tuple[int, ...]
    """Number of calls, one after the other, of each candidate of each step."""
    drawn: int
    """Number of candidates that the policy draws for a step."""
    tokens: float
    """Number of tokens of a candidate."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine with its workers, model servers and sandboxes."""

    concurrency: int
    """Number of tasks at the same time."""
    sandboxes: int
    """Number of candidates that run at the same time."""
    cores: int
    """Number of cores for the host's own work."""
    policy: ModelServer
    prm: ModelServer
    tool_latency: float
    """Seconds of a tool call."""
    sandbox_seconds: float = 0.0
    """Seconds that a candidate runs apart from its tool calls."""
    host_seconds: float
    """CPU seconds of the host for each step of a task."""
    tool_calls_per_second: float | None = None
    """Maximum rate of tool calls; None does not limit it."""


@dataclass(frozen=True)
class Prediction:
    """What a run on one node takes."""

    seconds: float
    """Wall time from the first request to the end of the last task."""
    steady_rate: float
    """Tasks a second in the middle half of the run."""


class NodeRun:
    """Simulation of the tasks of one node."""

    def __init__(self, node: Node, workload: Workload, seed: int) -> None:
        self._node, self._workload, self._random = node, workload, random.Random(seed)
        self.simulation = Simulation()
        self._cpu = Queue(self.simulation, node.cores)
        self._sandboxes = Queue(self.simulation, node.sandboxes)
        self._limit = RateLimit(self.simulation, node.tool_calls_per_second)
        self._requests = {name: Queue(self.simulation, self._server(name).concurrency) for name in ("policy", "prm")}
        self._batches = {
            name: BatchServer(self.simulation, self._server(name).first_token_time, self._server(name).batch_token_time)
            for name in ("policy", "prm")
        }
        self.ends: list[float] = []
        """Seconds at which tasks ended."""

    def predict(self, tasks: int) -> Prediction:
        """Simulate a number of tasks."""
        waiting = iter(range(tasks))
        for _ in range(min(self._node.concurrency, tasks)):
            self.simulation.start(self._work(waiting))
        self.simulation.run()
        first, last = self.ends[tasks // 4], self.ends[max(3 * tasks // 4, tasks // 4)]
        steady = (3 * tasks // 4 - tasks // 4) / (last - first) if last > first else tasks / self.ends[-1]
        return Prediction(self.ends[-1], steady)

    def _server(self, name: str) -> ModelServer:
        return self._node.policy if name == "policy" else self._node.prm

    def _work(self, waiting: Iterator[int]) -> Process:
        """Do one task after the other."""
        for _ in waiting:
            for candidates, calls in zip(self._workload.candidates, self._workload.tool_calls, strict=True):
                yield from self._cpu.use(self._node.host_seconds)
                yield from self._ask("policy", self._workload.tokens, self._workload.drawn)
                scores = [self._ask("prm", 0.0, 1) for _ in range(candidates)]
                runs = [self._execute(calls) for _ in range(candidates)]
                yield self.simulation.start_all([*scores, *runs])
            self.ends.append(self.simulation.now)

    def _ask(self, name: str, tokens: float, sequences: int) -> Process:
        """Send one request to a model server."""
        yield self._requests[name].acquire()
        yield self.simulation.wait(self._draw_latency(self._server(name)))
        if tokens:
            yield self._batches[name].generate(tokens, sequences)
        self._requests[name].release()

    def _execute(self, calls: int) -> Process:
        """Run a candidate in a sandbox."""
        yield self._sandboxes.acquire()
        yield self.simulation.wait(self._node.sandbox_seconds)
        for _ in range(calls):
            yield self._limit.pass_through()
            yield self.simulation.wait(self._node.tool_latency)
        self._sandboxes.release()

    def _draw_latency(self, server: ModelServer) -> float:
        if not server.latency_spread:
            return server.latency
        variance = log(1 + server.latency_spread**2)
        return server.latency * self._random.lognormvariate(-variance / 2, variance**0.5)


def predict_run(node: Node, workload: Workload, tasks: int, seed: int, simulated: int = 2000) -> Prediction:
    """Predict the wall time of tasks on one node.

    At most `simulated` tasks are simulated; further ones are taken to come at the rate of the middle half of these.
    """
    found = NodeRun(node, workload, seed).predict(min(tasks, simulated))
    return Prediction(found.seconds + max(tasks - simulated, 0) / found.steady_rate, found.steady_rate)
