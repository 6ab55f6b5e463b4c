"""`report.html` as the command line writes it: at the end of a run, and again from a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import ChatServer
from command_line import CommandLine, read_lines
from report_data import data
from scripted_policy import scripted_server

from codetool.config.overrides import compose_all
from codetool.errors import ConfigError

ENDPOINT = ("policy=openai", "policy.model=m", "benchmark.split=dev", "limit=12", "search.n=3", "logger=none")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished run of twelve tasks; to be read only."""
    run = CommandLine(tmp_path_factory.mktemp("finished"))
    with scripted_server() as policy:
        done = run(*ENDPOINT, f"policy.base_url={policy.url}")
    assert done.returncode == 0, done.stderr
    yield run.folder("tmdb_verified")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder without its report."""
    copy = tmp_path / finished.name
    shutil.copytree(finished, copy)
    (copy / "report.html").unlink()
    return copy


def report(folder: Path) -> dict[str, Any]:
    return data((folder / "report.html").read_text())


def test_a_run_ends_with_its_report(finished: Path) -> None:
    held = report(finished)
    assert {row["task_id"] for row in held["lines"]} == {line["task_id"] for line in read_lines(finished, "results")}
    assert all(row["expected"]["type"] and row["template"] and row["gold"] for row in held["lines"])
    assert sum(name.startswith("tree-") for name in held) == 12
    assert held["run"]["metrics"]["tasks"]["missing"] == 0
    assert held["run"]["made_from"]["sha256 of benchmark"]
    assert "seccomp" in held["run"]["confined"][0]
    assert sum(each["calls"] for each in held["run"]["calls"]) > 12
    assert not (finished / "report.html.new").exists()


def test_the_summary_names_it_and_ends_with_a_link(run: CommandLine, policy: ChatServer) -> None:
    done = run(*ENDPOINT, f"policy.base_url={policy.url}", "limit=1")
    assert ": report.html, results.jsonl" in done.stdout
    assert done.stdout.endswith(f"\nreport: {(run.folder('') / 'report.html').as_uri()}\n")


def test_its_stage_writes_it_again(run: CommandLine, finished: Path, folder: Path) -> None:
    done = run("stage=report", f"report.folder={folder}", "report.prompts=false")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{folder / 'report.html'}: 12 of 12 tasks"
    again, first = report(folder), report(finished)
    assert again["run"].pop("written") and first["run"].pop("written")
    assert again == first
    assert not run.outputs.exists()


def test_an_unfinished_run_with_a_torn_last_line_has_one(run: CommandLine, folder: Path) -> None:
    for name in ("results", "trees"):
        content = (folder / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_bytes(b"".join(content[:5]) + content[5][:40])
    done = run("stage=report", f"report.folder={folder}")
    assert done.stdout.strip().endswith("report.html: 5 of 12 tasks"), done.stderr
    held = report(folder)
    assert len(held["lines"]) == 5
    assert held["run"]["metrics"]["tasks"]["missing"] == 7


def test_a_run_that_is_going_on_has_one(run: CommandLine, slow_policy: ChatServer) -> None:
    process = run.start(*ENDPOINT, f"policy.base_url={slow_policy.url}", "concurrency=1")
    try:
        while not any(run.outputs.glob("evaluate/*/results.jsonl")) or not read_lines(run.folder("tmdb"), "results"):
            assert process.poll() is None
        done = run("stage=report", f"report.folder={run.folder('tmdb')}")
    finally:
        process.kill()
        process.communicate()
    assert done.returncode == 0, done.stderr
    assert 0 < len(report(run.folder("tmdb"))["lines"]) <= 12


def test_what_the_benchmark_no_longer_says_is_left_out(run: CommandLine, folder: Path) -> None:
    file = folder / "provenance.json"
    file.write_text(file.read_text().replace('"benchmark": "', '"benchmark": "0'))
    done = run("stage=report", f"report.folder={folder}")
    assert done.returncode == 0
    [note] = report(folder)["run"]["notes"]
    assert "have changed since the run" in note and note in done.stderr
    assert all(row["expected"] is None for row in report(folder)["lines"])


def test_it_says_where_the_prm_is_untrained(run: CommandLine, folder: Path) -> None:
    config = folder / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    target = "codetool.prm.generative.GenerativePRM"
    settings["prm"] = {"_target_": target, "model": "m", "path": None, "base_url": None}
    config.write_text(yaml.safe_dump(settings))
    assert run("stage=report", f"report.folder={folder}").returncode == 0
    assert "the model judges zero-shot" in report(folder)["run"]["notes"][0]


def test_a_folder_cannot_choose_what_is_run(run: CommandLine, folder: Path) -> None:
    config = folder / "config.yaml"
    text = config.read_text().replace("codetool.benchmarks.tmdb_verified.TMDBVerified", "os.getcwd")
    config.write_text(text)
    done = run("stage=report", f"report.folder={folder}")
    assert done.returncode == 0 and "benchmark._target_=os.getcwd" in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "report.folder is not set"),
        ("report.folder=nowhere", "report.folder=nowhere is no run folder: there is no config.yaml in it"),
        ("report.folder=conf", "report.folder=conf is no run folder: there is no results.jsonl in it"),
    ],
)
def test_a_folder_that_is_none_is_one_message(run: CommandLine, given: str, said: str) -> None:
    done = run("stage=report", *filter(None, [given]))
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.yaml", "[1"), ("config.yaml", "words"), ("results.jsonl", "{}\n"), ("trees.jsonl", "nonsense\n")],
)
def test_a_folder_with_broken_files_is_one_message(run: CommandLine, folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content)
    done = run("stage=report", f"report.folder={folder}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and str(folder) in done.stderr
    assert not list(folder.glob("report.html*"))


def test_a_report_that_cannot_be_written_fails_no_run(run: CommandLine, policy: ChatServer) -> None:
    words = (*ENDPOINT, f"policy.base_url={policy.url}")
    assert run(*words, "limit=1").returncode == 0
    folder = run.folder("tmdb_verified")
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    done = run(*words, "limit=2")
    assert done.returncode == 0 and "success" in done.stdout
    [line] = [line for line in done.stderr.splitlines() if "report.html" in line]
    assert line.startswith("report.html was not written (WriteError: ") and "Is a directory" in line
    assert "report.html" not in done.stdout and not (folder / "report.html.new").exists()


def test_a_dry_run_writes_none(run: CommandLine, folder: Path) -> None:
    done = run("stage=report", f"report.folder={folder}", "dry_run=true")
    assert done.returncode == 0 and "would be written" in done.stdout
    assert not (folder / "report.html").exists()


def test_its_words_mean_nothing_to_other_stages() -> None:
    with pytest.raises(ConfigError, match="only stage=report reads it"):
        compose_all(["report.folder=outputs"])
    compose_all(["report.folder=outputs", "stage=report"])
