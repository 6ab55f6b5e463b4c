"""Launchers that are extras: a worker that is killed costs its own cell, and the same command completes the sweep."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from chat_server import ChatServer
from command_line import CommandLine

from codetool.config import hydra_extras
from codetool.config.overrides import compose_all
from codetool.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore")


def read_table(run: CommandLine) -> list[dict[str, str]]:
    [file] = run.outputs.glob("sweeps/*/cells.csv")
    with file.open() as lines:
        return list(csv.DictReader(lines))


def find_workers(parent: int, text: str) -> Iterator[psutil.Process]:
    """The processes below a command whose command line holds a text."""
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if text in " ".join(process.cmdline()):
                yield process
        except psutil.NoSuchProcess:
            continue


@pytest.mark.slow
def test_a_killed_job_of_submitit_is_named_and_the_others_are_waited_for(
    run: CommandLine, slow_policy: ChatServer
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="not installed: pip install -e '.[submitit]'")
    words = ["-m", "policy=openai", "policy.model=m", f"policy.base_url={slow_policy.url}", "limit=2", "logger=none"]
    words += ["hydra/launcher=submitit_local", "search.n=2,3"]
    process = run.start(*words)
    while slow_policy.running < 2:  # one request of each cell, since cells share no draws while they run
        assert process.poll() is None
        time.sleep(0.05)
    first = min(find_workers(process.pid, "submitit.core._submit"), key=lambda worker: worker.pid)
    first.kill()
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors
    states = sorted(row["status"].partition(":")[0] for row in read_table(run))
    assert states == ["done", "failed"]
    again = run(*words)
    assert again.returncode == 0, again.stderr
    assert [row["status"] for row in read_table(run)] == ["done", "done"]


@pytest.mark.slow
def test_ray_runs_the_cells_in_its_workers(run: CommandLine, policy: ChatServer) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="not installed: pip install -e '.[ray]'")
    words = ["-m", "policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "limit=2", "logger=none"]
    finished = run(*words, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2", "search.n=2,3")
    assert finished.returncode == 0, finished.stderr
    assert [row["status"] for row in read_table(run)] == ["done", "done"]


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("hydra/launcher=ray", "pip install -e '.[ray]'"),
        ("hydra/launcher=submitit_slurm", "pip install -e '.[submitit]'"),
        ("hydra/launcher=joblib", "pip install -e '.[joblib]'"),
        ("hydra/sweeper=optuna", "pip install -e '.[optuna]'"),
    ],
)
def test_an_extra_that_is_missing_is_named_with_its_command(
    word: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydra_extras, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as error:
        compose_all([word], multirun=True)
    assert f"{word}: is not installed" in str(error.value) and command in str(error.value)


def test_codetool_imports_no_private_module_of_hydra() -> None:
    root = Path(hydra_extras.__file__).parents[2]
    for folder in ("codetool", "hydra_plugins"):
        for file in (root / folder).rglob("*.py"):
            lines = [line for line in file.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))]
            assert not [line for line in lines if "hydra._internal" in line], file
