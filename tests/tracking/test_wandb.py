"""The W&B run of a result, read back from wandb's own files, and what a server that misbehaves costs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from provenances import write_provenance
from wandb_files import Misbehaviour, Written, read, wandb_server

from codetool.runs.code_version import list_source_folders
from codetool.runs.plugin_code import hash_sources
from codetool.stages.wandb_content import (
    build_judge_content,
    build_prm_content,
    build_task_content,
    build_training_content,
)
from codetool.tracking.run_content import RunContent, RunInfo, SyncStatus
from codetool.tracking.wandb import WandBLogger

KEY = "0123456789abcdef0123456789abcdef01234567"


def line(task: str, success: bool) -> dict[str, Any]:
    return {
        "task_id": task,
        "query": f"Who is in {task}?",
        "answer": "Ada",
        "success": success,
        "finished": True,
        "stopped_by": None,
        "path": ["0-0", "0-0-0"],
        "metrics": {"success": success, "scep": 1.0, "usd": None},
        "ledger": {"tokens_in": 10, "tokens_out": 5, "usd": None},
        "error": None if success else {"kind": "wrong_answer", "message": "answered Ada"},
        "seconds": 1.5,
    }


METRICS = {
    "metrics": {
        "success": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2},
        "scep": {"value": 1.0, "low": None, "high": None, "n": 2},
    },
    "tasks": {"asked": 2, "missing": 0, "failures": []},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with two results; nobody is logged in."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "outputs" / "tmdb-beam-m-none-01234567"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 3\nsearch: {width: 2}\n")
    write_provenance(folder, {"benchmark": "ab12"})
    write(folder, [line("a", True), line("b", False)])
    return folder


def write(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (folder / "metrics.json").write_text(json.dumps(METRICS))


def record(folder: Path, *, connect: float = 1.0, upload: float = 20.0) -> SyncStatus:
    run = RunInfo(folder, "sweep-1", "evaluate", ["tmdb", "beam"], choices={"search": "beam"})
    content = build_task_content(folder, ["a", "b"])
    tracked = settings(connect=connect, upload=upload).start(run).finish(content)
    assert tracked is not None
    return tracked


def settings(*, connect: float = 1.0, upload: float = 20.0) -> WandBLogger:
    return WandBLogger(
        project="codetool", entity=None, system_metrics=False, connect_timeout=connect, upload_timeout=upload
    )


def log(folder: Path, stage: str, content: RunContent) -> None:
    settings().start(RunInfo(folder, None, stage, [])).finish(content)


def offline_run(folder: Path) -> Path:
    [run] = (folder / "wandb").glob("offline-run-*")
    return run


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def written(folder: Path) -> Written:
    (folder / "report.html").write_text("<html></html>")
    record(folder)
    return read(offline_run(folder))


def test_the_run_is_the_result_under_its_own_name(written: Written, folder: Path) -> None:
    assert (written.id, written.group, written.project) == (folder.name, "sweep-1", "codetool")
    assert written.tags == ["tmdb", "beam"]
    made = {"codetool": "0.1.0", "sha256/benchmark": "ab12"}
    assert {"seed": 3, "search": "beam", "search/width": 2, **made}.items() <= written.config.items()
    assert [code["sha256"] for code in written.config["code"]] == [hash_sources(list_source_folders())]
    assert written.artifacts[f"report-{folder.name}"] == "report"

    numbers = {"success": 0.5, "success_low": 0.1, "success_high": 0.9, "scep": 1.0, "tasks/asked": 2}
    numbers |= {"errors/wrong_answer": 1, "ledger/tokens_in": 20, "ledger/tokens_out": 10}
    assert numbers.items() <= written.summary.items()
    assert "scep_low" not in written.summary and "ledger/usd" not in written.summary

    rows = [dict(zip(written.table["columns"], row, strict=True)) for row in written.table["data"]]
    assert [(row["task_id"], row["answer"], row["success"], row["steps"]) for row in rows] == [
        ("a", "Ada", True, 2),
        ("b", "Ada", False, 2),
    ]
    assert rows[1]["error"] == "wrong_answer"


def test_a_training_has_its_curves_by_update(folder: Path) -> None:
    losses = [{"step": step, "loss": 1.0 / step, "learning_rate": 1e-3, "seconds": 2.0} for step in (1, 2, 3)]
    checked = [{"step": 2, "validation_loss": 0.7, "auroc": 0.8}, {"step": 3, "validation_loss": 0.6, "auroc": None}]
    for name, lines in (("losses.jsonl", losses), ("validations.jsonl", checked)):
        (folder / name).write_text("".join(json.dumps(each) + "\n" for each in lines))
    metrics = {"metrics": {"validation_loss": 0.6, "auroc": None}, "loss": 0.5, "updates": 3, "best_step": 3}
    (folder / "metrics.json").write_text(json.dumps(metrics | {"counts": {"examples": 12}}))

    log(folder, "train", build_training_content(folder, []))

    written = read(offline_run(folder))
    assert [point["train/loss"] for point in written.history if "train/loss" in point] == [1.0, 0.5, 1.0 / 3]
    validations = {point["step"]: point for point in written.history if "validation/validation_loss" in point}
    assert validations[2]["validation/auroc"] == 0.8 and "validation/auroc" not in validations[3]
    assert validations[3]["validation/validation_loss"] == 0.6
    assert {"validation_loss": 0.6, "loss": 0.5, "updates": 3, "data/examples": 12}.items() <= written.summary.items()
    assert not written.table


def test_a_measured_prm_has_its_metrics_and_its_reliability(folder: Path) -> None:
    metric = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 9}
    each = {"low": 0.0, "high": 0.5, "score": 0.3, "share": 1.0, "soft": metric}
    content = {"metrics": {"auroc": metric}, "pairwise_accuracy_by_depth": {"1": metric}, "reliability": [each]}
    choice = {"level": "paths", "n": 2, "gain": metric}
    content |= {"references": {"constant": {"accuracy": 0.7}}, "selection": [choice]}
    (folder / "metrics.json").write_text(json.dumps(content | {"tasks": 3, "groups": 4, "steps": 9}))

    log(folder, "evaluate_prm", build_prm_content(folder))

    written = read(offline_run(folder))
    numbers = {"auroc": 0.7, "auroc_low": 0.6, "pairwise_accuracy/step_1_high": 0.8, "data/steps": 9}
    numbers |= {"constant/accuracy": 0.7, "selection/paths_2/gain": 0.7, "selection/paths_2/gain_low": 0.6}
    assert numbers.items() <= written.summary.items()
    assert [dict(zip(written.table["columns"], row, strict=True)) for row in written.table["data"]] == [
        {"low": 0.0, "high": 0.5, "score": 0.3, "share": 1.0, "soft": 0.7, "soft_low": 0.6, "soft_high": 0.8}
    ]


def test_without_a_key_one_line_says_how_to_upload_and_nothing_lies_elsewhere(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracked = record(folder)
    assert tracked.message.endswith(f"wandb sync {folder / 'wandb'}")
    assert not tracked.is_warning
    assert capfd.readouterr() == ("", "")
    assert not list(files(Path(os.environ["HOME"])))


def test_no_key_of_the_environment_is_in_any_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"OPENAI_API_KEY": "sk-planted/one", "TMDB_API_KEY": "planted-two-2", "MY_PASSWORD": "planted three"}
    for name, key in keys.items():
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    secret = keys["OPENAI_API_KEY"]
    (folder / "config.yaml").write_text(f"policy: {{base_url: 'http://me:{secret}@host/v1'}}\n")
    write(folder, [line("a", True) | {"answer": secret}, line("b", False)])
    record(folder)
    assert read(offline_run(folder)).config["policy/base_url"] == "http://me:[secret]@host/v1"
    for file in files(folder / "wandb"):
        content = file.read_bytes()
        assert not [key for key in [*keys.values(), KEY] if key.encode() in content], file


def test_an_unchanged_result_is_not_written_again(folder: Path) -> None:
    record(folder)
    before = offline_run(folder)
    written = {file: file.stat().st_mtime_ns for file in files(folder / "wandb")}
    record(folder)
    assert offline_run(folder) == before
    assert {file: file.stat().st_mtime_ns for file in files(folder / "wandb")} == written


def test_a_run_is_uploaded_where_there_is_a_key_and_only_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        tracked = record(folder)
        assert tracked.message == f"W&B: {server.url}/me/codetool/runs/{folder.name}"
        assert tracked.offline_folder is None
        stored = {path for path, _ in server.requests if path.startswith("/store/")}
        assert any("tasks" in path for path in stored) and "/store/wandb-summary.json" in stored
        assert not any("otel" in path for path, _ in server.requests)  # nothing is told about us
        assert all(file.is_relative_to(folder) for file in files(tmp_path))

        asked = len(server.requests)
        assert record(folder) == tracked
        assert len(server.requests) == asked


@pytest.mark.slow
def test_a_key_in_netrc_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        netrc = Path(os.environ["HOME"]) / ".netrc"
        netrc.write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
        netrc.chmod(0o600)
        assert record(folder).message == f"W&B: {server.url}/me/codetool/runs/{folder.name}"


@pytest.mark.parametrize(
    ("misbehave", "said"),
    [
        pytest.param(lambda text: 0, "did not answer within 1 s", id="silent"),
        pytest.param(lambda text: 500, "answered 500", id="500", marks=pytest.mark.slow),
        pytest.param(lambda text: 401, "does not accept the API key", id="bad key"),
        pytest.param(
            lambda text: None if "viewer" in text else 0,
            "took longer than 4 s",
            id="silent later",
            marks=pytest.mark.slow,
        ),
        pytest.param(lambda text: None if "viewer" in text else 400, "the upload failed", id="refuses the run"),
    ],
)
def test_a_server_that_misbehaves_costs_seconds_and_one_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, misbehave: Misbehaviour, said: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server(misbehave) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        started = time.monotonic()
        tracked = record(folder, upload=4.0 if "4 s" in said else 50.0)  # W&B may take seconds to be told no
        assert time.monotonic() - started < 60
    assert tracked.is_warning and said in tracked.message
    assert tracked.offline_folder == folder / "wandb"
    assert "\n" not in tracked.message and f"wandb sync {tracked.offline_folder}" in tracked.message
    assert read(offline_run(folder)).summary["success"] == 0.5


def test_a_server_that_refuses_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", url)
    assert "cannot be reached" in record(folder).message


def test_wandb_mode_is_respected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = settings().start(RunInfo(folder, None, "evaluate", []))
    run.log({"success": 1.0}, 1)
    assert run.finish(build_task_content(folder, ["a", "b"])) is None
    assert not (folder / "wandb").exists()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert "WANDB_MODE=offline" in record(folder).message


def test_ctrl_c_during_the_upload_leaves_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from pathlib import Path; from codetool.tracking.wandb import *\n"
        "from codetool.stages.wandb_content import *; from codetool.tracking.run_content import RunInfo\n"
        "folder = Path(sys.argv[1])\n"
        "run = WandBLogger(project='p', entity=None, system_metrics=False, "
        "connect_timeout=5.0, upload_timeout=60.0).start("
        "RunInfo(folder, None, 'evaluate', []))\n"
        "run.finish(build_task_content(folder, ['a', 'b']))"
    )
    record(folder)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with wandb_server(lambda text: 0 if "upsertBucket" in text else None) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stderr=subprocess.PIPE, text=True)
        while not any("upsertBucket" in text for _, text in server.requests):
            assert process.poll() is None
            time.sleep(0.05)
        started_by_it = psutil.Process(process.pid).children(recursive=True)
        assert started_by_it
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=5)[1]
    psutil.wait_procs(started_by_it, timeout=2)
    assert not [each for each in started_by_it if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_a_judged_run_tells_its_solve_rate_and_the_votes_of_every_task(folder: Path) -> None:
    votes = {"labels": ["Solved", "Unsure"], "reason": "half of it", "sopr": 0.75}
    judged = "".join(json.dumps({"task_id": task, **votes}) + "\n" for task in "ab")
    (folder / "judged.jsonl").write_text(judged)
    rate = {"value": 0.75, "low": 0.5, "high": 0.9, "n": 2, "standard_error": 0.1, "vote_deviation": 0.25}
    content = METRICS | {"metrics": {"sopr": rate}, "judge": {"model": "j", "votes": 4, "tokens_in": 40}}
    (folder / "metrics.json").write_text(json.dumps(content))
    found = build_task_content(folder, ["a", "b"])
    numbers = {"sopr": 0.75, "sopr_low": 0.5, "sopr_standard_error": 0.1, "sopr_vote_deviation": 0.25}
    assert (numbers | {"judge/votes": 4, "judge/tokens_in": 40}).items() <= found.values.items()
    place = found.tables["tasks"].columns.index("sopr")
    assert [row[place] for row in found.tables["tasks"].rows] == [0.75, 0.75]


def test_a_judging_of_its_own_is_a_run_of_its_own(folder: Path) -> None:
    line = {"task_id": "a", "query": "Who?", "answer": "Ada", "labels": ["Solved"], "reason": "so", "sopr": 1.0}
    (folder / "judged.jsonl").write_text(json.dumps(line | {"preference": "tie", "sowr": 0.5}) + "\n")
    metric = {"value": 0.5, "low": None, "high": None, "n": 1, "win": 0, "tie": 1, "loss": 0}
    content = {"metrics": {"sowr": metric}, "tasks": {"asked": 1}, "judge": {"model": "j", "votes": 1}}
    (folder / "metrics.json").write_text(json.dumps(content))

    log(folder, "judge", build_judge_content(folder))

    written = read(offline_run(folder))
    assert {"sowr": 0.5, "sowr_tie": 1, "tasks/asked": 1, "judge/votes": 1}.items() <= written.summary.items()
    [row] = [dict(zip(written.table["columns"], row, strict=True)) for row in written.table["data"]]
    assert row == line | {"labels": "Solved", "preference": "tie", "sowr": 0.5}
