"""Runs of the stand-in tasks with a fault proxy before each service, and the comparison of two such runs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fault_proxy import FaultProxy, run_proxies
from rich.console import Console
from stand_in_services import StandInBenchmark, StandInServices

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.runs import journal
from codetool.stages.evaluate.run import run
from codetool.stages.run_outcome import RunOutcome

SERVICES = ("policy", "prm", "prm_endpoint", "tools", "judge", "answer", "simulator")
"""Services that a proxy stands before. `prm` is a PRM server, `prm_endpoint` a PRM behind a chat server."""
SEARCH = ("search=greedy", "search.n=2", "search.depth=3")
TIMEOUT = 0.5
"""Seconds until the first byte of an answer."""
CHOICES = {
    "benchmark": "stand_in", "search": "greedy", "policy": "openai", "prm": "remote", "reward": "codetool",
    "judge": "none", "experiment": "none",
}  # fmt: skip
UNCOMPARED = {
    "seconds", "seconds_per_solved", "seconds_p50", "seconds_p95", "component_seconds", "recorded_at", "faults", "code",
    "spent", "simulator_tokens_in", "simulator_tokens_out", "tool_calls_recorded", "tool_calls_live",
}  # fmt: skip
"""Fields, at any depth, that may differ between two equal results."""
COMPARED_FILES = ("results.jsonl", "trees.jsonl", "candidates.jsonl", "judged.jsonl", "votes.jsonl")


@dataclass
class FaultStack:
    """The proxies by service, all before the same stand-in services."""

    proxies: Mapping[str, FaultProxy]

    def reset(self, rates: Mapping[str, float]) -> None:
        """Forget all requests; a service without a rate has no faults."""
        for name, proxy in self.proxies.items():
            proxy.reset(rates.get(name, 0.0))

    def words(self, service: str) -> list[str]:
        """Return the command line words of a run that uses a service; `all` uses every one but the simulator."""
        words = ["logger=none", "concurrency=32"]
        words += self._endpoint("policy", "policy") + self._prm(service)
        if service == "simulator":
            words += ["simulator=openai", *self._endpoint("simulator", "simulator")[1:]]
        else:
            words += ["tools.mode=live", f"tools.timeout={TIMEOUT}", f"tools.connect_timeout={TIMEOUT}"]
            words += ["tools.backoff=0.02"]
        if service in {"judge", "all"}:
            words += [*self._endpoint("judge", "judge"), "judge.votes=2", "judge.temperature=1"]
        if service in {"answer", "all"}:
            words += self._endpoint("answer", "answer")
        return words

    def _prm(self, service: str) -> list[str]:
        if service == "prm_endpoint":
            return ["prm=qwen7b", "prm.backend=endpoint", *self._endpoint("prm", "prm_endpoint")[1:]]
        url = self.proxies["prm"].url
        limits = [f"prm.timeout={TIMEOUT}", f"prm.connect_timeout={TIMEOUT}", "prm.backoff=0.02"]
        return ["prm=remote", "prm.model=m", f"prm.base_url={url}", *limits]

    def _endpoint(self, group: str, service: str) -> list[str]:
        settings = {"model": "m", "base_url": f"{self.proxies[service].url}/v1", "timeout": TIMEOUT, "backoff": 0.02}
        return [f"{group}=openai", *(f"{group}.{name}={value}" for name, value in settings.items())]

    def run(
        self, outputs: Path, service: str, tasks: int, more: Sequence[str] = (), search: Sequence[str] = SEARCH
    ) -> FaultRun:
        """Run the tasks with a service and further words, and return what came out of it."""
        [composed] = compose_all([f"outputs={outputs}", *self.words(service), *search, *more])
        benchmark: Any = StandInBenchmark(self.proxies["tools"].url, tasks)
        config = replace(validate(composed), benchmark=benchmark)
        printed, log = io.StringIO(), io.StringIO()
        started = time.monotonic()
        with redirect_stdout(printed):
            outcome = run(config, CHOICES, Console(file=log, width=300))
        return FaultRun(outcome, time.monotonic() - started, printed.getvalue(), log.getvalue())


@dataclass(frozen=True)
class FaultRun:
    """One run."""

    outcome: RunOutcome
    seconds: float
    printed: str
    """What it printed on standard output."""
    log: str
    """What it printed on standard error."""

    @property
    def metrics(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        content: dict[str, Any] = json.loads((self.outcome.folder / "metrics.json").read_text())
        return content

    def read(self, name: str) -> list[Any]:
        """Return the lines of a journal without seconds, sorted; empty without the file."""
        lines = [remove_uncompared(line) for line in journal.read_records(self.outcome.folder / name)]
        return sorted(lines, key=lambda line: json.dumps(line, sort_keys=True))


def find_differences(first: FaultRun, second: FaultRun) -> list[str]:
    """Return the names of the files and metrics in which two runs differ."""
    files = [name for name in COMPARED_FILES if first.read(name) != second.read(name)]
    ours, theirs = (remove_uncompared(result.metrics) for result in (first, second))
    return files + [f"metrics.json: {name}" for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]


def remove_uncompared(value: Any) -> Any:
    """Return the value without the fields that may differ, at any depth."""
    if isinstance(value, dict):
        return {name: remove_uncompared(item) for name, item in value.items() if name not in UNCOMPARED}
    return [remove_uncompared(item) for item in value] if isinstance(value, list) else value


@contextmanager
def open_stack(seed: int = 0) -> Iterator[FaultStack]:
    """Start all services behind their proxies, without faults, while the context is open."""
    services = StandInServices()
    proxies = {name: FaultProxy(services.answer, seed=seed, rate=0.0) for name in SERVICES}
    with run_proxies(*proxies.values()):
        services.tool_server = proxies["tools"].url
        # An error object of a tool may be its answer, so that it is only a fault where the document says otherwise.
        yield FaultStack(proxies)
