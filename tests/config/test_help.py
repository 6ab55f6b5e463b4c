"""`--help`, `--version` and what becomes of streams that nobody reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT
from warm_process import run_warm

from codetool.config.help import format_help
from codetool.config.overrides import CONF
from codetool.errors import ConfigError

STAGES = sorted(file.stem for file in (CONF / "stage").glob("*.yaml"))
PAGE = 80
"""Lines that a page has at most."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_page_with_its_settings_groups_and_an_example(stage: str) -> None:
    text = format_help([f"stage={stage}"])
    assert len(text.splitlines()) <= PAGE
    assert f"python run.py stage={stage}" in text or stage == "evaluate"
    for other in STAGES:
        assert other == stage or f"Settings that stage={other} reads" not in text
    assert "_target_" not in text and "defaults:" not in text and "# Reads" not in text


def test_a_page_shows_what_the_stage_alone_reads_and_chooses() -> None:
    text = format_help(["stage=train"])
    assert "max_tokens_per_batch: " in text and "tuning=     full, lora*, qlora" in text and "search=  " not in text
    assert "exhaustive*" in format_help(["stage=collect"]) and "beam*" in format_help([])
    assert "prm_prompt@collect.prompt= " in format_help(["stage=collect"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["search=best_of_n"], "chains per task"),
        (["search"], "search=beam\n"),
        (["tools"], "max_calls: 1000"),
        (["prm=remote"], "base_url: ???"),
        (["limit"], "limit: null"),
        (["search=beam", "prm=none", "stage=collect"], "prm=none"),
    ],
)
def test_what_is_named_is_listed_with_its_settings(words: list[str], expected: str) -> None:
    assert expected in format_help(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["stage=tran"], "Allowed: collect"), (["search=x"], "Allowed: adaptive, beam"), (["serch"], "There are: ")],
)
def test_what_there_is_not_is_named(words: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        format_help(words)


def test_no_option_that_is_refused_is_advertised() -> None:
    for group in ("cache", "tool_proxy", "answer_prompt", "prm_prompt", "replica", "sampling", "policy_prompt"):
        assert f"    {group}= " not in format_help([])


def test_options_of_a_plugin_are_listed(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text("# Walks my way.\n_target_: m.M\nsteps: 3   # steps that I take\n")
    flags = ["--config-dir", str(tmp_path)]
    assert "mine" in format_help([], flags)
    assert "Walks my way." in (text := format_help(["search=mine"], flags)) and "steps: 3   # steps that I take" in text


def shell(command: str) -> subprocess.CompletedProcess[str]:
    command = command.replace("RUN", f"{sys.executable} run.py")
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "words",
    ["--help", "--cfg job", *(pytest.param(words, marks=pytest.mark.slow) for words in ("--version", "--help tools"))],
)
def test_a_reader_that_goes_away_ends_it_quietly(words: str) -> None:
    done = shell(f"RUN {words} | true")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_ours() -> None:
    done = run_warm([sys.executable, "run.py", "--version"])
    assert done.stdout.startswith("codetool ") and "hydra" not in done.stdout.lower()


def test_a_closed_standard_output_is_one_message_before_anything_runs() -> None:
    done = shell("RUN dry_run=true >&-")
    assert done.returncode == 2 and done.stderr.startswith("error: standard output is closed")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", ["outputs=run.py", "outputs=run.py/x", "--config-name=other", "--config-path x"])
def test_what_cannot_be_is_one_message(words: str) -> None:
    done = run_warm([sys.executable, "run.py", "dry_run=true", *words.split()])
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
