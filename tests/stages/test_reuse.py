"""`reuse=[…]`: runs of the same policy and seed share their candidates, others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, strip_seconds

SPLIT = ("benchmark.split=dev", "limit=8", "logger=none")
GREEDY = ("search=greedy", "search.n=3", "reward=without_latent")
ORACLE = ("search=greedy", "search.n=3", "prm=oracle")


def words(policy: ChatServer) -> tuple[str, ...]:
    return ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", *SPLIT)


def candidates(folder: Path) -> list[str]:
    return sorted(f"{line['key']}{line['index']}{line['text']}" for line in read_lines(folder, "candidates"))


def test_a_run_that_shares_draws_what_is_missing_and_comes_to_the_same(run: CommandLine, policy: ChatServer) -> None:
    alone = CommandLine(run.outputs.with_name("alone"))
    assert alone(*words(policy), *ORACLE).returncode == 0
    asked = len(policy.requests)
    assert run(*words(policy), *GREEDY).returncode == 0
    first, before = run.folder("tmdb_verified-greedy-openai-none"), len(policy.requests)
    done = run(*words(policy), *ORACLE, f"reuse=[{first}]")
    assert done.returncode == 0, done.stderr
    assert len(policy.requests) - before < asked / 2
    shared, unshared = (each.folder("tmdb_verified-greedy-openai-oracle") for each in (run, alone))
    assert shared.name == unshared.name  # where a candidate comes from is no part of the result's identity
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(shared, name)) == strip_seconds(read_lines(unshared, name))
    assert candidates(shared) == candidates(unshared)  # so that the folder can be replayed by itself


def test_another_seed_or_policy_is_refused_with_every_difference(run: CommandLine, policy: ChatServer) -> None:
    assert run(*words(policy), *GREEDY, "limit=1").returncode == 0
    first, before = run.folder("tmdb_verified-greedy-openai-none"), len(policy.requests)
    chain = ("search=chain", "policy.model=other", "seed=1")
    done = run(*words(policy), *chain, f"reuse=[{first}]")
    assert done.returncode == 2, done.stderr
    assert f"the candidates of {first} cannot stand for this run's: seed is 0 there, 1 here" in done.stderr
    assert "policy.model is 'm' there, 'other' here" in done.stderr
    assert "policy.temperature is 0.9 there, 0.0 here" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(policy.requests) == before and len(list(run.outputs.glob("evaluate/*"))) == 1


def test_a_policy_of_other_weights_is_refused(run: CommandLine, policy: ChatServer) -> None:
    assert run(*words(policy), *GREEDY, "limit=1").returncode == 0
    first = run.folder("tmdb_verified-greedy-openai-none")
    file = first / "provenance.json"
    file.write_text(file.read_text().replace('"checksums": {', '"checksums": {"policy": "abc",'))
    done = run(*words(policy), *ORACLE, f"reuse=[{first}]")
    assert done.returncode == 2 and "the checksum of the policy is 'abc' there, None here" in done.stderr


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_is_no_run_folder_is_named(run: CommandLine, tmp_path: Path, name: str) -> None:
    done = run("policy=openai", "policy.model=m", f"reuse={tmp_path / name}", "dry_run=true")
    assert done.returncode == 2 and "is no run folder: there is no config.yaml in it" in done.stderr
