"""The ledger of a run says what servers that count their tokens have been asked, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_proxy import Exchange, FaultProxy
from fault_stack import FaultRun, FaultStack, open_stack

from codetool.costs.rates import list_tokens
from codetool.ledger import Ledger
from codetool.runs import journal
from codetool.stages.spent_journal import read_spent
from codetool.types import JSON

FAULTS_WITHOUT_ANSWER = ("status_429", "status_503", "reset")
"""Faults for which no model has worked."""
SOURCES = ("recorded", "replica", "simulated", "live", "unanswered")
COMPONENTS = {"policy": "policy", "prm": "prm", "answer": "answer", "judge": "judge", "simulator": "simulator"}


class Counts:
    """Tokens that the models behind the proxies have read and written, by component."""

    def __init__(self) -> None:
        self.tokens: dict[str, Counter[str]] = {}

    def watch(self, component: str, proxy: FaultProxy) -> None:
        answer = proxy.upstream

        async def count(exchange: Exchange) -> tuple[int, str, bytes]:
            status, kind, body = await answer(exchange)
            self.add(component, json.loads(body))
            return status, kind, body

        proxy.upstream = count

    def add(self, component: str, content: JSON) -> None:
        if "usage" in content:
            read, written = content["usage"]["prompt_tokens"], content["usage"]["completion_tokens"]
        elif "scores" in content:
            read, written = content["tokens_asked"], 0
        else:
            return  # a list of models
        self.tokens.setdefault(component, Counter()).update(requests=1, tokens_in=read, tokens_out=written)


Watch = Callable[[], Counts]


@pytest.fixture(scope="module")
def stack() -> Iterator[FaultStack]:
    with open_stack(seed=5) as opened:
        yield opened


@pytest.fixture
def counts(stack: FaultStack) -> Iterator[Counts]:
    """Counts of all services, which fail for no reason until told so."""
    stack.reset({})
    counts, before = Counts(), {name: (proxy.upstream, proxy.kinds) for name, proxy in stack.proxies.items()}
    for name, component in COMPONENTS.items():
        counts.watch(component, stack.proxies[name])
    yield counts
    for name, (upstream, kinds) in before.items():
        stack.proxies[name].upstream, stack.proxies[name].kinds = upstream, kinds


def read_ledgers(run: FaultRun) -> Counter[str]:
    """The tokens of all ledgers in `results.jsonl` with the votes on their answers, by `component name`."""
    total = Counter[str]()
    for line in journal.read_records(run.outcome.folder / "results.jsonl"):
        ledger = Ledger(**line["ledger"])
        assert ledger.tool_calls == sum(getattr(ledger, f"tool_calls_{source}") for source in SOURCES)
        for component, (read, written) in list_tokens(ledger).items():
            total.update({f"{component} tokens_in": read, f"{component} tokens_out": written})
    for vote in run.read("votes.jsonl"):
        total.update({"judge tokens_in": vote["tokens_in"], "judge tokens_out": vote["tokens_out"]})
    return +total


def flatten(tokens: dict[str, Counter[str]], *names: str) -> Counter[str]:
    return +Counter({f"{component} {name}": amounts[name] for component, amounts in tokens.items() for name in names})


def assert_all_is_counted(run: FaultRun, counts: Counts) -> None:
    """What the servers were asked is what the folder has recorded of it."""
    names = ("requests", "tokens_in", "tokens_out")
    assert flatten(read_spent(run.outcome.folder), *names) == flatten(counts.tokens, *names)


@pytest.mark.parametrize("service", ["all", pytest.param("simulator", marks=pytest.mark.slow)])
def test_the_parts_are_the_whole_also_where_requests_are_repeated(
    stack: FaultStack, counts: Counts, tmp_path: Path, service: str
) -> None:
    for proxy in stack.proxies.values():
        proxy.kinds = FAULTS_WITHOUT_ANSWER
    stack.reset(dict.fromkeys(stack.proxies, 0.3))
    run = stack.run(tmp_path, service, 5)
    assert not run.outcome.failed and run.metrics["faults"]["policy"]["kinds"]
    assert {"policy", "prm"} < counts.tokens.keys()
    assert_all_is_counted(run, counts)
    assert read_ledgers(run) == flatten(counts.tokens, "tokens_in", "tokens_out")


@pytest.mark.slow
def test_a_task_that_fails_and_is_run_again_counts_both_times(
    stack: FaultStack, counts: Counts, tmp_path: Path
) -> None:
    words = ("policy", 3, ("prm.retries=0",))
    clean = stack.run(tmp_path / "clean", *words)
    assert not clean.outcome.failed
    counts.tokens.clear()
    stack.proxies["prm"].is_broken = fail_at_second_step
    try:
        broken = stack.run(tmp_path / "broken", *words)
    finally:
        stack.proxies["prm"].is_broken = lambda exchange: None
    assert broken.outcome.failed == 3
    assert_all_is_counted(broken, counts)
    assert read_ledgers(broken) == flatten(counts.tokens, "tokens_in", "tokens_out")  # what was spent until then
    repaired = stack.run(tmp_path / "broken", *words)
    assert not repaired.outcome.failed and read_ledgers(repaired) == read_ledgers(clean)
    assert_all_is_counted(repaired, counts)
    lost = flatten(counts.tokens, "tokens_in", "tokens_out") - read_ledgers(repaired)
    assert set(lost) == {"prm tokens_in"}  # candidates are in the journal, scores are asked for again


def fail_at_second_step(exchange: Exchange) -> str | None:
    """The fault of every request to score a second step."""
    return "status_503" if exchange.target.startswith("/score") and b"##Step 2" in exchange.body else None
