"""The batch scripts of the documentation, run by a stand-in for SLURM on small numbers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from chat_server import ChatServer
from command_line import read_lines, strip_seconds
from doc_commands import ROOT
from in_process import evaluate_run, scripted
from scripted_policy import scripted_server
from stand_in_slurm import install, list_tasks, parse_script, read_scripts

SCRIPTS = read_scripts()
SMALL = ("limit=4", "search.n=2", "search.width=1", "search.depth=2", "logger=none")


def test_sbatch_accepts_the_scripts() -> None:
    array, training = map(parse_script, SCRIPTS)
    assert list_tasks(array.array) == [*range(1, 17)] and array.signal == "INT@60"
    assert (training.nodes, training.ntasks_per_node) == (2, 8)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("#SBATCH --gpu=1", "unrecognized arguments: --gpu=1"),
        ("#SBATCH --arr=1-2", "unrecognized arguments: --arr=1-2"),
        ("#SBATCH --array=1..2", "Invalid specification: 1..2"),
        ("#SBATCH --signal=INT60 --time=soon", "Invalid specification: soon"),
    ],
)
def test_sbatch_refuses_options_that_slurm_does_not_have(
    lines: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_script(f"#!/bin/bash\n{lines}\necho\n#SBATCH --ignored\n")
    assert message in capsys.readouterr().err
    parse_script("#!/bin/bash\necho\n#SBATCH --ignored\n")


def write_script(script: str, file: Path, changes: Mapping[str, str], words: str) -> Path:
    """Write a script of the page with other numbers, and further words for its command."""
    for old, new in changes.items():
        assert old in script, old
        script = script.replace(old, new)
    file.write_text(f"{script.rstrip()} {words}\n")
    return file


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with scripted_server(latency=0.3) as server:
        yield server


@pytest.mark.slow
def test_an_array_of_shards_is_killed_submitted_again_and_merged(server: ChatServer, tmp_path: Path) -> None:
    environment = os.environ | install(tmp_path / "slurm")
    changes = {"--array=1-16": "--array=1-2", "/16": "/2", "MODEL": "m", "URL": server.url}
    words = f"benchmark.split=dev concurrency=1 outputs={tmp_path}/outputs {' '.join(SMALL)}"
    script = write_script(SCRIPTS[0], tmp_path / "evaluate.sbatch", changes, words)
    job = subprocess.Popen(["sbatch", "--wait", script], cwd=ROOT, env=environment)
    until = time.monotonic() + 120
    while not any(file.stat().st_size for file in tmp_path.glob("outputs/evaluate/*/shards/2-of-2/candidates.jsonl")):
        assert time.monotonic() < until and job.poll() is None
        time.sleep(0.05)
    subprocess.run(["scancel", "--signal=KILL", "1_2"], env=environment, check=True)
    assert job.wait(120) == 128 + 9
    subprocess.run(["sbatch", "--wait", "--array=2", script], cwd=ROOT, env=environment, check=True)
    [merged] = (tmp_path / "outputs").glob("evaluate/*")
    alone = evaluate_run(tmp_path / "alone", *scripted(server), *SMALL).folder
    for name in ("results", "trees", "candidates"):
        assert strip_seconds(read_lines(merged, name)) == strip_seconds(read_lines(alone, name))
    assert {file.name.partition("_")[2] for file in (tmp_path / "slurm").glob("slurm-*")} == {"1.out", "2.out"}
