"""What W&B's files hold while a run is going on, after it was killed, and once it was resumed and uploaded."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from provenances import write_provenance
from wandb_files import Written, read, wandb_server

from codetool.stages.logged_run import describe_adapter, describe_process_data, find_run_folder
from codetool.tracking import wandb_log_file
from codetool.tracking.lightning_logger import LightningRunLogger
from codetool.tracking.run_content import RunContent, RunInfo
from codetool.tracking.wandb import WandBLogger, WandBRun

KEY = "0123456789abcdef0123456789abcdef01234567"
AXIS = "trainer/global_step"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder; nobody is logged in."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "prm-lora-01234567"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 3\n")
    write_provenance(folder, {})
    return folder


def start(folder: Path, *, system_metrics: bool = False) -> WandBRun:
    settings = WandBLogger(
        project="codetool", entity=None, system_metrics=system_metrics, connect_timeout=2.0, upload_timeout=20.0
    )
    return settings.start(RunInfo(folder, None, "train", ["prm"], axis=AXIS))


def log(run: WandBRun, steps: range) -> None:
    for step in steps:
        run.log({"train/loss": 1 / step}, step)


def offline_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def steps(points: list[dict[str, Any]]) -> list[int]:
    return [point[AXIS] for point in points if "train/loss" in point]


def wait_for(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def read_live(folder: Path, number: int = 0) -> Written:
    """The offline run of this number, as its file is now."""
    runs = offline_runs(folder)
    has_file = len(runs) > number and any(runs[number].glob("*.wandb"))
    return read(runs[number]) if has_file else Written()


def kill_writer(run: WandBRun) -> None:
    """Kill the writer with all that it started, as the kernel does when memory is short."""
    assert run._writer is not None
    os.killpg(run._writer._process.pid, signal.SIGKILL)
    run._writer._process.wait()


def test_points_are_in_the_file_while_the_run_goes_on_and_a_killed_and_resumed_run_is_one_history(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = start(folder)
    log(killed, range(1, 101))
    wait_for(lambda: len(steps(read_live(folder).history)) >= 99)  # wandb holds the last point back
    assert read_live(folder).exit_code is None
    kill_writer(killed)
    [file] = offline_runs(folder)[0].glob("*.wandb")
    with file.open("r+b") as opened:  # the last record is torn, as when the writer is killed within it
        opened.truncate(file.stat().st_size - 3)
    kept = steps(read_live(folder).history)
    log(killed, range(101, 103))  # nobody listens any more
    killed.stop(1)

    resumed = start(folder)
    log(resumed, range(95, 121))  # from the last checkpoint
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        status = resumed.finish(RunContent({"validation_loss": 0.5}))
        assert status is not None and status.message == f"W&B: {server.url}/me/codetool/runs/{folder.name}"
    history = [server.history[number] for number in sorted(server.history)]
    assert steps(history) == [*kept, *range(95, 121)] and len(kept) >= 98
    assert [line["_step"] for line in history] == list(range(len(history)))
    assert server.summary["validation_loss"] == 0.5
    assert [read(run).exit_code for run in offline_runs(folder)] == [None, 0]


@pytest.mark.slow  # wandb sends what is new every 15 seconds
def test_points_reach_the_server_while_the_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        run = start(folder)
        log(run, range(1, 10))

        def log_one_more() -> bool:
            run.log({"train/loss": 0.0}, 10)
            return len(server.history) >= 9 and bool(caplog.messages)  # the address is looked for once a second

        wait_for(log_one_more)
        assert caplog.messages == [f"W&B: {server.url}/me/codetool/runs/{folder.name}"]
        status = run.finish(RunContent({"loss": 0.1}))
        assert status is not None and status.message == f"W&B: {server.url}/me/codetool/runs/{folder.name}"
        assert server.summary["loss"] == 0.1
        assert steps([server.history[number] for number in sorted(server.history)])[:10] == list(range(1, 11))


@pytest.mark.slow
def test_the_last_points_of_a_stopped_run_reach_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        run = start(folder)

        def log_one_more() -> bool:
            run.log({"train/loss": 0.0}, 1)
            return any("file_stream" in path for path, _ in server.requests)

        wait_for(log_one_more)
        log(run, range(2, 5))
        run.stop(255)
        assert steps([server.history[number] for number in sorted(server.history)])[-3:] == [2, 3, 4]
        assert '"exitcode":255' in server.requests[-1][1]


@pytest.mark.slow
def test_a_server_that_dies_during_the_run_costs_one_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        run = start(folder)

        def log_one_more() -> bool:
            run.log({"train/loss": 0.0}, 1)
            return any("file_stream" in path for path, _ in server.requests)

        wait_for(log_one_more)
    started = time.monotonic()
    run.log({"train/loss": 0.0}, 2)
    assert time.monotonic() - started < 0.1
    status = run.finish(RunContent({"loss": 0.1}))
    assert status is not None and status.is_warning and "cannot be reached" in status.message
    assert f"wandb sync {folder / 'wandb'}" in status.message
    assert read(offline_runs(folder)[0]).summary["loss"] == 0.1


PROGRAM = """
import sys, time
from pathlib import Path
from codetool.tracking.run_content import RunInfo
from codetool.tracking.run_loggers import start_run_loggers
from codetool.tracking.wandb import WandBLogger
option = WandBLogger(project="p", entity=None, system_metrics=True, connect_timeout=1.0, upload_timeout=1.0)
with start_run_loggers({"wandb": option}, RunInfo(Path(sys.argv[1]), None, "train", [])) as loggers:
    for step in range(1, 1000):
        loggers.log({"loss": 1 / step}, step)
        print(step, flush=True)
        time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [pytest.param(signal.SIGINT, 255, id="Ctrl-C"), pytest.param(signal.SIGKILL, 1, id="SIGKILL")],
)
def test_a_stopped_or_killed_process_keeps_its_points_and_leaves_no_process(
    folder: Path, number: signal.Signals, exit_code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 50:
        pass
    started_by_it = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    logged = 50 + process.communicate(timeout=20)[0].count("\n")
    psutil.wait_procs(started_by_it, timeout=15)
    assert not [each for each in started_by_it if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    written = read(offline_runs(folder)[0])
    assert len(written.history) in (logged, logged + 1) and written.exit_code == exit_code


@pytest.mark.slow
def test_system_metrics_are_those_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.5")
    run = start(folder, system_metrics=True)
    log(run, range(1, 3))
    wait_for(lambda: len(read_live(folder).system) >= 2)
    run.stop(0)
    rss = psutil.Process().memory_info().rss / 2**20
    measured = read(offline_runs(folder)[0]).system[-1]
    assert measured["proc.memory.rssMB"] == pytest.approx(rss, rel=0.5)


def test_a_folder_that_cannot_be_written_costs_a_line_and_no_training(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "wandb").write_text("a file")
    logger = start(folder).to_lightning()
    logger.log_metrics({"loss": 1.0}, step=1)
    logger.log_metrics({"loss": 1.0}, step=2)
    [message] = caplog.messages
    assert message.startswith("W&B: logs no more curves") and "wandb" in message


def test_an_offline_run_that_holds_nothing_does_not_stop_the_others(folder: Path) -> None:
    empty = folder / "wandb" / f"offline-run-20200101_000000-{folder.name}"
    empty.mkdir(parents=True)
    (empty / f"run-{folder.name}.wandb").write_bytes(wandb_log_file.FILE_HEADER)
    run = start(folder)
    log(run, range(1, 3))
    run.stop(0)
    [written] = map(read, offline_runs(folder))
    assert steps(written.history) == [1, 2]


def test_a_log_file_is_cut_at_its_last_whole_record(folder: Path, tmp_path: Path) -> None:
    run = start(folder)
    run.log({"text": 0.0} | {f"value/{number}": 0.5 for number in range(2000)}, 1)  # longer than a block
    log(run, range(2, 5))
    run.stop(0)
    [file] = offline_runs(folder)[0].glob("*.wandb")
    content = file.read_bytes()
    ends = [end for end, _ in wandb_log_file.iterate_records(content)]
    assert ends[-1] == len(content) > wandb_log_file.BLOCK_BYTES
    torn = tmp_path / "torn.wandb"
    for length in [*range(0, len(content), 977), *(end + by for end in ends for by in (-1, 0, 1))]:
        torn.write_bytes(content[:length])
        whole = [end for end in ends if end <= length]
        assert wandb_log_file.cut_torn_record(torn) == len(whole)
        assert torn.stat().st_size == (whole[-1] if whole else min(length, len(wandb_log_file.FILE_HEADER)))
    damaged = bytearray(content)
    damaged[ends[2] + 20] ^= 1
    torn.write_bytes(damaged)
    assert wandb_log_file.cut_torn_record(torn) == 3


def test_only_the_first_process_of_a_training_opens_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = start(folder).to_lightning()
    assert isinstance(logger, LightningRunLogger)
    monkeypatch.setattr("lightning_fabric.utilities.rank_zero.rank_zero_only.rank", 1)
    logger.log_metrics({"loss": 1.0}, step=1)
    assert not (folder / "wandb").exists()


def test_data_adapters_and_what_uses_them_are_connected(folder: Path) -> None:
    data, adapter = folder.parent / "collected", folder / "adapter"
    data.mkdir()
    write_provenance(data, {})
    (data / "process.jsonl").write_text("{}\n")
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    assert find_run_folder(adapter) == folder and find_run_folder(data / "process.jsonl") == data

    assert replace(
        describe_process_data(data / "process.jsonl", is_input=True), is_input=False
    ) == describe_process_data(data)
    assert replace(describe_adapter(adapter, is_input=True), is_input=False) == describe_adapter(adapter)

    used, made = describe_process_data(data, is_input=True), describe_adapter(adapter)
    start(folder).finish(RunContent({"loss": 0.5}, artifacts=[used, made]))
    [written] = map(read, offline_runs(folder))
    assert written.used == {"process-data-collected": "process-data"}
    assert written.artifacts == {"adapter-prm-lora-01234567": "model"}
    assert set(written.files["process-data-collected"]) == {"process.jsonl"}
    assert set(written.files["adapter-prm-lora-01234567"]) == {"adapter/adapter_config.json"}
