"""A result that other code continues: the command says so, and the files name every code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import CommandLine, read_lines, read_metrics
from report_data import data
from scripted_policy import scripted_server

from codetool.runs.code_version import list_source_folders
from codetool.runs.plugin_code import hash_sources

OTHER = "0123456789abcdef" * 4
SEARCH = ("search=greedy", "benchmark.split=dev", "logger=none", "policy=openai", "policy.model=m")


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with scripted_server() as policy:
        yield policy


def provenance(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return content


def pretend_other_code(folder: Path) -> None:
    """Let what the folder holds be the work of other code."""
    content = provenance(folder)
    for session in content["sessions"]:
        session["code"]["sha256"] = OTHER
    (folder / "provenance.json").write_text(json.dumps(content))


def test_a_result_names_every_code_that_made_it(run: CommandLine, server: ChatServer) -> None:
    words = (*SEARCH, f"policy.base_url={server.url}")
    first = run(*words, "limit=2")
    assert first.returncode == 0 and "code has changed" not in first.stderr
    folder = run.folder("tmdb_verified")
    same = run(*words, "limit=2")
    assert "done already: 2" in same.stderr and "code has changed" not in same.stderr
    [session, _] = provenance(folder)["sessions"]
    assert session["code"]["sha256"] == hash_sources(list_source_folders())
    assert session["command"].startswith("python run.py ") and "limit=2" in session["command"]
    assert session["sandbox"] and session["ended"] and session["done"] == 0
    assert provenance(folder)["checksums"]["benchmark"]
    assert [(each["sha256"], each["results"]) for each in read_metrics(folder)["code"]] == [
        (session["code"]["sha256"], 2)
    ]

    pretend_other_code(folder)
    for more in ("dry_run=true", "seed=0"):  # a run that finds everything done says it as well
        done = run(*words, "limit=2", more)
        assert done.returncode == 0 and "done already: 2" in done.stderr
        [line] = [line for line in done.stderr.splitlines() if "code has changed" in line]
        assert OTHER[:8] in line and session["code"]["sha256"][:8] in line and "fresh=true" in line
    assert run(*words, "limit=3").returncode == 0
    assert len(read_lines(folder, "results")) == 3
    counts = [(each["sha256"], each["results"]) for each in read_metrics(folder)["code"]]
    assert counts == [(OTHER, 2), (session["code"]["sha256"], 1)]
    report = data((folder / "report.html").read_text())["run"]
    assert any("2 different codes" in note and OTHER[:8] in note for note in report["notes"])
    assert OTHER[:8] in report["made_from"]["code 1"] and "code 2" in report["made_from"]
    assert report["confined"] == ["; ".join(f"{name}: {means}" for name, means in session["sandbox"].items())]


def test_every_stage_that_makes_a_folder_says_it(run: CommandLine, server: ChatServer) -> None:
    collect = ("stage=collect", "search.n=2", "search.depth=2", "limit=1", *SEARCH[1:], f"policy.base_url={server.url}")
    assert run(*collect).returncode == 0
    [collected] = run.outputs.glob("collect/*")
    measure = ("stage=evaluate_prm", "prm=random", f"evaluate_prm.runs=[{collected}]", "logger=none")
    assert run(*measure).returncode == 0
    [measured] = run.outputs.glob("evaluate_prm/*")
    for folder, words in ((collected, collect), (measured, measure)):
        pretend_other_code(folder)
        done = run(*words)
        assert done.returncode == 0 and done.stderr.count("code has changed") == 1, done.stderr
        assert [code["sha256"] == OTHER for code in read_metrics(folder)["code"]] == [True, False]
