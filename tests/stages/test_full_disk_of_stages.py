"""Each stage with a disk that fails, a folder that vanishes, or another command that has the folder.

Each time there is one message, no journal is damaged, and the same command then ends equal to an undisturbed one.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from chat_server import ChatServer, Reply, chat, serve_in_process
from failing_disk import DiskWithAnEvent, FailingDisk, run_on
from in_process import collect_run, evaluate_run, prepare_run, remove_seconds, scripted
from rich.console import Console
from training_jobs import choices, config, process_file

from codetool.errors import ConfigError, WriteError
from codetool.runs import journal
from codetool.stages.evaluate_prm.evaluate_prm import evaluate_prm
from codetool.stages.judge.judge import judge
from codetool.stages.run_folder import LOCK_FILE, lock_folder
from codetool.stages.train.train import train

STAGES = ("evaluate", "collect", "judge", "evaluate_prm", "train")
NOBODY = 65534
"""Id of a user who may write nothing here."""
SMALL = ("search.n=2", "search.depth=2", "limit=1", "concurrency=1")


@dataclass(frozen=True)
class Stage:
    """A stage to disturb."""

    run: Callable[[Path], object]
    """Runs it in this process, with this folder for outputs."""
    expected: dict[str, Any]
    """What an undisturbed run leaves."""
    operations: int
    """Number of writes and flushes of an undisturbed run."""


def verdict(body: dict[str, Any]) -> Reply:
    digest = hashlib.sha256(json.dumps(body["messages"]).encode()).digest()
    return chat("Solved" if digest[0] % 2 else "Unsolved")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other users may read, unlike pytest's own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def judge_server() -> Iterator[ChatServer]:
    with serve_in_process(verdict) as server:
        yield server


def make_evaluate(inputs: Path, policy: ChatServer, judge_server: ChatServer) -> Callable[[Path], object]:
    return lambda outputs: evaluate_run(outputs, *scripted(policy), *SMALL)


def make_collect(inputs: Path, policy: ChatServer, judge_server: ChatServer) -> Callable[[Path], object]:
    return lambda outputs: collect_run(outputs, *scripted(policy), *SMALL)


def make_judge(inputs: Path, policy: ChatServer, judge_server: ChatServer) -> Callable[[Path], object]:
    folder = evaluate_run(inputs, *scripted(policy), "search=chain", "limit=3").folder
    words = ("stage=judge", f"judge_stage.folder={folder}", "judge=stabletoolbench", "judge.model=j")
    return lambda outputs: judge(*prepare_run(outputs, *words, f"judge.base_url={judge_server.url}"))


def make_evaluate_prm(inputs: Path, policy: ChatServer, judge_server: ChatServer) -> Callable[[Path], object]:
    collect_run(inputs, *scripted(policy), "search.n=2", "limit=2")
    [folder] = inputs.glob("collect/*")
    words = ("stage=evaluate_prm", "prm=random", f"evaluate_prm.runs=[{folder}]")
    return lambda outputs: evaluate_prm(*prepare_run(outputs, *words))


def make_train(inputs: Path, policy: ChatServer, judge_server: ChatServer) -> Callable[[Path], object]:
    tiny_models.save("llama", inputs / "model")
    data = process_file(inputs / "process.jsonl", tasks=4)
    settings = ("trainer.max_epochs=1", "train.val_fraction=0.25", "train.checkpoint_every_n_steps=2")

    def run(outputs: Path) -> None:
        console = Console(file=io.StringIO(), width=200)
        train(config(inputs / "model", data, outputs, *settings), choices(), console)

    return run


def content(outputs: Path) -> dict[str, Any]:
    """The result files by path. Lines of a journal must all be good, and nothing else may lie about."""
    found: dict[str, Any] = {}
    for file in sorted(file for file in outputs.rglob("*") if file.is_file() and "checkpoints" not in file.parts):
        assert file.suffix not in (".new", ".damaged"), file
        name = str(file.relative_to(outputs))
        if file.name == "spent.jsonl":  # what commands really asked for, so it differs where some failed
            continue
        if file.suffix == ".jsonl":
            assert file.read_bytes()[-1:] in (b"", b"\n"), file
            records = [remove_seconds(json.loads(line)) for line in file.read_text().splitlines()]
            found[name] = sorted({json.dumps(record | {"path": None}, sort_keys=True) for record in records})
        elif file.suffix == ".json" and file.name != "provenance.json":
            found[name] = remove_seconds(json.loads(file.read_text()))
        elif file.suffix == ".safetensors":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        else:
            found[name] = "there"
    return found


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    policy: ChatServer,
    judge_server: ChatServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    (tmp_path / "inputs").mkdir()
    run = globals()[f"make_{request.param}"](tmp_path / "inputs", policy, judge_server)
    disk = FailingDisk(None)
    run_on(disk, monkeypatch, run, tmp_path / "undisturbed")
    return Stage(run, content(tmp_path / "undisturbed"), disk.operations)


EVERY_WRITE = pytest.mark.parametrize(
    "step", [pytest.param(7, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
"""Fail at every seventh write of a command in the slow tier, and at every single one in `pytest -m exhaustive`."""


def check_journals(outputs: Path) -> None:
    for file in outputs.rglob("*.jsonl"):
        assert list(journal.read_records(file)) == [json.loads(line) for line in file.read_bytes().splitlines()]


def check_repetition(stage: Stage, outputs: Path) -> None:
    stage.run(outputs)
    assert content(outputs) == stage.expected
    shutil.rmtree(outputs)


@pytest.mark.parametrize("stage", STAGES[1:], indirect=True)  # `test_full_disk.py` has evaluate
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@EVERY_WRITE
def test_a_disk_that_fails_at_every_write(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, step: int
) -> None:
    outputs = tmp_path / "outputs"
    assert stage.operations > 5
    for number in range(1, stage.operations, step):  # the last one flushes the names in the folder, which may fail
        with pytest.raises(WriteError, match=r"^\S+ cannot be written: .*\. What is finished is") as told:
            run_on(FailingDisk(number, error), monkeypatch, stage.run, outputs)
        assert "\n" not in str(told.value)
        check_journals(outputs)
        check_repetition(stage, outputs)


@pytest.mark.parametrize("stage", STAGES, indirect=True)
@EVERY_WRITE
def test_a_folder_that_vanishes_at_every_write(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    outputs = tmp_path / "outputs"
    for number in range(1, stage.operations, step):
        disk = DiskWithAnEvent(number, lambda: shutil.rmtree(outputs))
        with pytest.raises(WriteError, match="removed while the command used it"):
            run_on(disk, monkeypatch, stage.run, outputs)
        check_repetition(stage, outputs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("stage", ["judge", "evaluate_prm", "train"], indirect=True)  # no sandbox, which may not start
@EVERY_WRITE
def test_a_folder_that_becomes_read_only_at_every_write(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The process loses the right to create files; journals that are open stay writable."""
    outputs = tmp_path / "outputs"
    for path in (tmp_path / "inputs").rglob("*"):
        path.chmod(0o755)  # all that is read stays readable
    for number in range(1, stage.operations - 1, step):
        disk = DiskWithAnEvent(number, lambda: os.seteuid(NOBODY))
        try:
            with pytest.raises(WriteError, match="Permission denied. Make it writable"):
                run_on(disk, monkeypatch, stage.run, outputs)
        finally:
            os.seteuid(0)
        check_journals(outputs)
        check_repetition(stage, outputs)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES, indirect=True)
@pytest.mark.parametrize("finished", [False, True])
def test_a_second_command_is_refused_and_changes_nothing(stage: Stage, tmp_path: Path, finished: bool) -> None:
    """Another command, whichever stage it runs, has the folder as long as it holds the lock."""
    [made] = (tmp_path / "undisturbed").glob("*/*")
    outputs = tmp_path / "undisturbed" if finished else tmp_path / "outputs"
    folder = outputs / made.relative_to(tmp_path / "undisturbed")
    before = read_files(folder) if finished else {}
    with ExitStack() as stack:
        lock_folder(folder, stack, wait=False, journals=("begun",))
        with pytest.raises(ConfigError, match=rf"another run is writing this result \(process {os.getpid()}\)"):
            stage.run(outputs)
        assert read_files(folder) == before
    stage.run(outputs)
    assert content(outputs) == stage.expected


def read_files(folder: Path) -> dict[Path, bytes]:
    """The contents of all files but the lock, which holds the id of its owner."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != LOCK_FILE}
