"""A package of somebody else's, `tests/plugin/film_shop`, runs through the stages with parts of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_models
from command_line import ROOT, read_lines, read_metrics
from rich.console import Console
from training_jobs import WORDS as TRAIN_WORDS
from training_jobs import process_file

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.errors import ConfigError
from codetool.stages.collect.collect import collect
from codetool.stages.evaluate.run import run as evaluate
from codetool.stages.evaluate_prm.evaluate_prm import evaluate_prm
from codetool.stages.judge.judge import judge
from codetool.stages.report import report
from codetool.stages.serve.serve_prm import serve_prm
from codetool.stages.train.train import train

PLUGIN = Path(__file__).parents[1] / "plugin"
CHOICES = {"benchmark": "film_shop", "search": "widest", "policy": "shop", "prm": "length", "reward": "codetool"}
SEARCH_PATH = "hydra.searchpath=[pkg://film_shop.conf]"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


def settings(outputs: Path, *words: str):  # type: ignore[no-untyped-def]
    return validate(compose_all([SEARCH_PATH, "experiment=shop", f"outputs={outputs}", "logger=none", *words])[0])


def test_a_benchmark_search_prm_policy_and_tool_source_run_through_the_stages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console, choices = Console(stderr=True), CHOICES | {"experiment": "shop"}
    outcome = evaluate(settings(tmp_path), choices, console)
    assert outcome.failed == 0 and outcome.folder.name.startswith("film_shop-widest-shop-length-")
    assert read_metrics(outcome.folder)["metrics"]["success"]["value"] == 1
    nodes = [node for tree in read_lines(outcome.folder, "trees") for node in tree["nodes"] if node["text"]]
    assert nodes and all(0 < node["latent"] < 1 for node in nodes)

    (outcome.folder / "report.html").unlink()
    assert report(settings(tmp_path, "stage=report", f"report.folder={outcome.folder}"), choices, console) == 0
    assert (outcome.folder / "report.html").is_file() and "left out" not in capsys.readouterr().err

    assert collect(settings(tmp_path, "stage=collect"), choices, console) == 0
    [collected] = (tmp_path / "collect").iterdir()
    assert {example["executed"] for example in read_lines(collected, "process")} == {True, False}

    words = ("stage=evaluate_prm", f"evaluate_prm.runs=[{collected}]")
    assert evaluate_prm(settings(tmp_path, *words), choices, console) == 0
    [measured] = (tmp_path / "evaluate_prm").iterdir()
    assert measured.name.startswith("film_shop-length-")


def test_a_prm_and_a_judge_take_part_in_training_serving_and_judging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, model = Console(stderr=True), tmp_path / "model"
    tiny_models.save("llama", model)
    own = (f"outputs={tmp_path}", "logger=none", SEARCH_PATH, "prm=shop", f"prm.base={model}")

    data = process_file(tmp_path / "process.jsonl", 4)
    config = validate(compose_all(["stage=train", *own, f"train.files=[{data}]", *TRAIN_WORDS])[0])
    assert train(config, {"prm": "shop", "tuning": "lora", "experiment": "none"}, console) == 0
    [trained] = (tmp_path / "train").iterdir()
    assert trained.name.startswith("prm-shop-lora-") and (trained / "adapter" / "adapter_model.safetensors").is_file()

    answers: list[Any] = []

    async def ask(server: Any, listener: socket.socket) -> None:
        transport = httpx.ASGITransport(app=server.config.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://prm") as client:
            body = {"messages": [[{"role": "user", "content": "abc"}]]}
            answers.extend([(await client.post("/score", json=body)).json(), (await client.get("/health")).json()])

    monkeypatch.setattr("codetool.stages.serve.serve_prm.serve_until_interrupted", ask)
    served = validate(compose_all(["stage=serve_prm", "serve_prm.port=0", *own])[0])
    assert serve_prm(served, {"prm": "shop"}, console) == 0
    assert answers[0]["scores"] == [0.25] and answers[1]["model"] == "shop"

    outcome = evaluate(settings(tmp_path), CHOICES | {"experiment": "shop"}, console)
    words = ("stage=judge", "judge=shop", f"judge_stage.folder={outcome.folder}")
    assert judge(settings(tmp_path, *words), CHOICES | {"judge": "shop", "experiment": "shop"}, console) == 0
    [judged] = (tmp_path / "judge").iterdir()
    assert read_metrics(judged)["metrics"]["sopr"]["value"] == 1


def test_a_renamed_folder_is_of_the_benchmarks_class(tmp_path: Path) -> None:
    choices = CHOICES | {"experiment": "shop"}
    assert collect(settings(tmp_path, "stage=collect"), choices, Console(stderr=True)) == 0
    [collected] = (tmp_path / "collect").iterdir()
    shutil.move(collected, tmp_path / "mine")
    words = ("stage=evaluate_prm", f"evaluate_prm.runs=[{tmp_path / 'mine'}]")
    assert evaluate_prm(settings(tmp_path, *words), choices, Console(stderr=True)) == 0
    [measured] = (tmp_path / "evaluate_prm").iterdir()
    assert measured.name.startswith("film_shop-length-")


def test_a_policy_without_a_temperature_goes_with_every_search(tmp_path: Path) -> None:
    assert "temperature" not in settings(tmp_path, "search=chain").settings["policy"]


@pytest.mark.parametrize(("word", "expected"), [("search.childre=1", "search.children"), ("prm=lenth", "length")])
def test_a_typo_beside_it_is_explained_with_its_options(tmp_path: Path, word: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        settings(tmp_path, word)


def test_a_file_may_not_choose_a_benchmark_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results.jsonl").touch()
    benchmark = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "made")]}
    (tmp_path / "config.yaml").write_text(json.dumps({"stage": "evaluate", "benchmark": benchmark}))
    words = ("stage=report", f"report.folder={tmp_path}", "dry_run=true")
    assert report(settings(tmp_path, *words), CHOICES, Console(stderr=True)) == 0
    assert not (tmp_path / "made").exists() and "is no Benchmark" in capsys.readouterr().err.replace("\n", " ")


def test_a_file_may_not_name_a_module_that_the_command_has_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folder of somebody else must not run its own code, even where the folder is on Python's path."""
    (tmp_path / "hostile_benchmark.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    (tmp_path / "results.jsonl").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for benchmark in ({"_target_": "hostile_benchmark.X"}, {"_target_": "film_shop.benchmark.FilmShop", "count": [
        {"_target_": "hostile_benchmark.X"}]}):  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps({"stage": "evaluate", "benchmark": benchmark}))
        words = ("stage=report", f"report.folder={tmp_path}", "dry_run=true")
        assert report(settings(tmp_path, *words), CHOICES, Console(stderr=True)) == 0
        assert "is no part of CodeTool" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "made").exists()


def test_a_file_may_not_read_this_machines_variables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-4711")
    (tmp_path / "results.jsonl").touch()
    benchmark = {"_target_": "film_shop.benchmark.FilmShop", "count": "${oc.env:CANARY_KEY}"}
    (tmp_path / "config.yaml").write_text(json.dumps({"stage": "evaluate", "benchmark": benchmark}))
    words = ("stage=report", f"report.folder={tmp_path}", "dry_run=true")
    assert report(settings(tmp_path, *words), CHOICES, Console(stderr=True)) == 0
    shown = capsys.readouterr()
    assert "canary-4711" not in shown.err + shown.out and "cannot be had" in shown.err.replace("\n", " ")


@pytest.mark.slow
def test_the_wheel_runs_and_is_extended(tmp_path: Path) -> None:
    source, unpacked = tmp_path / "source", tmp_path / "site"
    left_out = shutil.ignore_patterns(".git", "outputs", "tests", ".*_cache", "build")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run([sys.executable, *build], check=True, timeout=180, capture_output=True)
    [wheel] = tmp_path.glob("codetool-*.whl")
    shutil.unpack_archive(wheel, unpacked, "zip")
    environment = os.environ | {"PYTHONPATH": f"{unpacked}{os.pathsep}{PLUGIN}"}

    def codetool(*words: str) -> str:
        command = [sys.executable, "-m", "codetool", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "width: 7" in codetool("--cfg", "job", "search=beam", "search.width=7")
    assert "film_shop-widest-shop-length-" in codetool(SEARCH_PATH, "experiment=shop", "dry_run=true")
    assert "widest" in codetool("--help", SEARCH_PATH)
    assert "steps of a path" in codetool("--help", SEARCH_PATH, "search=widest")
