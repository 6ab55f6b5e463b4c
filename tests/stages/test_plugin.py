"""A package of somebody else's, `tests/plugin`, goes through all stages with its own parts, by each of three ways."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_models
from command_line import read_lines, read_metrics
from hydra.core.hydra_config import HydraConfig
from plugin_doors import DOORS, PACKAGE, PLUGIN, SEARCH_PATH, Door, forget_modules
from rich.console import Console
from training_jobs import WORDS as TRAIN_WORDS
from training_jobs import process_file

from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.runs import provenance
from codetool.stages.collect.collect import collect
from codetool.stages.evaluate.run import run as evaluate
from codetool.stages.evaluate_prm.evaluate_prm import evaluate_prm
from codetool.stages.judge.judge import judge
from codetool.stages.report import report
from codetool.stages.serve.serve_prm import serve_prm
from codetool.stages.serve.serve_tools import serve_tools
from codetool.stages.train.train import train

CHOICES = {
    "benchmark": "film_shop", "search": "widest", "policy": "shop", "prm": "length", "reward": "priced",
    "judge": "digits", "experiment": "shop",
}  # fmt: skip

CHAT = {"role": "user", "content": "abc"}


@pytest.fixture(autouse=True)
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path and the modules of the package are those of one test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget_modules(monkeypatch)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return DOORS[request.param](tmp_path / "site", monkeypatch)


@pytest.fixture
def search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return DOORS["search_path"](tmp_path, monkeypatch)


def shop(door: Door, outputs: Path, *words: str) -> RunConfig:
    logger = () if any(word.startswith("logger=") for word in words) else ("logger=none",)
    return door.compose("experiment=shop", f"outputs={outputs}", *logger, *words)


def test_its_parts_go_through_the_stages(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(stderr=True)
    outcome = evaluate(shop(door, tmp_path, "answer=receipt", "logger=ticker"), CHOICES | {"judge": "none"}, console)
    assert outcome.failed == 0 and outcome.folder.name.startswith("film_shop-widest-shop-length-")
    assert read_metrics(outcome.folder)["metrics"]["success"]["value"] == 1
    nodes = [node for tree in read_lines(outcome.folder, "trees") for node in tree["nodes"] if node["text"]]
    assert nodes and all(0 < node["latent"] < 1 for node in nodes)
    for line in read_lines(outcome.folder, "results"):
        assert line["ledger"]["usd"] == pytest.approx(line["ledger"]["prm_tokens"] * 2e-6) and line["ledger"]["usd"] > 0
    assert (outcome.folder / "ticker.txt").read_text().endswith("finished\n")
    assert all(node["cumulative"] == pytest.approx(node["spot"] + node["latent"] - 0.1) for node in nodes)

    export = "film_rows" if door == Door() else "film_shop.export.write_export"  # a package without installation
    words = ("stage=collect", "prm_prompt@collect.prompt=plain", f"export=[trl_stepwise,{export}]")
    assert collect(shop(door, tmp_path, *words), CHOICES | {"judge": "none"}, console).failed == 0
    [collected] = (tmp_path / "collect").iterdir()
    examples = read_lines(collected, "process")
    assert {example["executed"] for example in examples} == {True, False}
    rows = read_lines(collected / "exports" / export, "rows")
    assert sum(row["steps"] for row in rows) == len(examples) and rows[0]["benchmark"] == "film_shop"
    assert examples[0]["prefix"][0]["content"].startswith("Does the last step lead to the answer?\nWhat does")

    # what a run folder names is imported only because the command adds the package, or because it is installed
    forget_modules(monkeypatch)
    door.set_hydra_config()
    (outcome.folder / "report.html").unlink()
    assert report(door.compose("stage=report", f"report.folder={outcome.folder}"), CHOICES, console) == 0
    assert (outcome.folder / "report.html").is_file() and "left out" not in capsys.readouterr().err
    own = (f"outputs={tmp_path}", "logger=none")
    measured = door.compose("stage=evaluate_prm", "prm=length", f"evaluate_prm.runs=[{collected}]", *own)
    assert evaluate_prm(measured, CHOICES, console).failed == 0
    judged = door.compose("stage=judge", "judge=digits", f"judge_stage.folder={outcome.folder}", *own)
    assert judge(judged, CHOICES, console).failed == 0
    [measured_folder], [judged_folder] = (tmp_path / "evaluate_prm").iterdir(), (tmp_path / "judge").iterdir()
    assert measured_folder.name.startswith("film_shop-length-")
    assert read_metrics(judged_folder)["metrics"]["sopr"]["value"] == 1


def test_its_prm_and_tools_are_trained_and_served(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console, model = Console(stderr=True), tmp_path / "model"
    tiny_models.save("llama", model)
    own = (f"outputs={tmp_path}", "prm=shop", f"prm.base={model}")
    data = process_file(tmp_path / "process.jsonl", 4)
    config = door.compose("stage=train", *own, "logger=none", f"train.files=[{data}]", *TRAIN_WORDS)
    assert train(config, {"prm": "shop", "tuning": "lora", "experiment": "none"}, console).failed == 0
    [trained] = (tmp_path / "train").iterdir()
    assert trained.name.startswith("prm-shop-lora-") and (trained / "adapter" / "adapter_model.safetensors").is_file()

    served = serve(monkeypatch, "serve_prm", {"/health": None, "/score": {"messages": [[CHAT]]}})
    assert serve_prm(door.compose("stage=serve_prm", "serve_prm.port=0", *own), {"prm": "shop"}, console) == 0
    assert served["/score"].json()["scores"] == [0.25] and served["/health"].json()["model"] == "shop"

    paths = ("/film-shop.example/v1/price/Alien", "/price/Heat", "/price/Nothing")
    served = serve(monkeypatch, "serve_tools", dict.fromkeys(paths))
    config = door.compose("stage=serve_tools", "benchmark=film_shop", "serve_tools.port=0")
    assert serve_tools(config, CHOICES, console) == 0
    assert [served[path].status_code for path in paths] == [200, 200, 404]
    assert [served[path].json().get("price") for path in paths] == ["7", "9", None]


def serve(monkeypatch: pytest.MonkeyPatch, stage: str, requests: dict[str, Any]) -> dict[str, httpx.Response]:
    """The responses of a stage's app by path, once the stage has run; a request with a body is a POST."""
    responses: dict[str, httpx.Response] = {}

    async def ask(server: Any, listener: socket.socket) -> None:
        app = server.config.app
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
            for path, body in requests.items():
                responses[path] = await (client.post(path, json=body) if body else client.get(path))

    monkeypatch.setattr(f"codetool.stages.serve.{stage}.serve_until_interrupted", ask)
    return responses


def test_a_changed_plugin_is_another_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    door = DOORS["entry_point"](tmp_path / "site", monkeypatch)
    (tmp_path / "site" / PACKAGE).unlink()
    package = tmp_path / "site" / PACKAGE
    package.mkdir()
    for file in (PLUGIN / PACKAGE).rglob("*.*"):
        if file.suffix in (".py", ".yaml"):
            (package / file.relative_to(PLUGIN / PACKAGE)).parent.mkdir(parents=True, exist_ok=True)
            (package / file.relative_to(PLUGIN / PACKAGE)).write_bytes(file.read_bytes())
    choices, console = CHOICES | {"judge": "none"}, Console(stderr=True)
    first = evaluate(shop(door, tmp_path, "limit=1"), choices, console).folder
    made = provenance.read_provenance(first)
    [session] = made.sessions
    assert session["code"]["plugins"][PACKAGE].startswith("film-shop 1.2, sha256 ")
    assert len(made.identity.checksums["plug-in film_shop"]) == 64
    add_line(package / "conf" / "search" / "widest.yaml", "# a comment")
    assert evaluate(shop(door, tmp_path, "limit=1", "dry_run=true"), choices, console).folder == first
    add_line(package / "search.py", "MORE = 1")
    capsys.readouterr()
    assert evaluate(shop(door, tmp_path, "limit=1", "dry_run=true"), choices, console).folder != first
    assert f"The code of plug-in film_shop has changed since {first}" in capsys.readouterr().err.replace("\n", "")


def add_line(file: Path, line: str) -> None:
    file.write_text(f"{file.read_text()}{line}\n")


def test_a_renamed_folder_is_of_the_benchmarks_class(search_path: Door, tmp_path: Path) -> None:
    choices, console = CHOICES | {"judge": "none"}, Console(stderr=True)
    assert collect(shop(search_path, tmp_path, "stage=collect"), choices, console).failed == 0
    [collected] = (tmp_path / "collect").iterdir()
    collected.rename(tmp_path / "mine")
    words = ("stage=evaluate_prm", f"evaluate_prm.runs=[{tmp_path / 'mine'}]")
    assert evaluate_prm(shop(search_path, tmp_path, *words), choices, console).failed == 0
    [measured] = (tmp_path / "evaluate_prm").iterdir()
    assert measured.name.startswith("film_shop-length-")


def test_a_policy_without_a_temperature_goes_with_every_search(search_path: Door, tmp_path: Path) -> None:
    assert "temperature" not in shop(search_path, tmp_path, "search=chain").settings["policy"]


def report_of(folder: Path, benchmark: dict[str, Any], door: Door, capsys: pytest.CaptureFixture[str]) -> str:
    """What stage=report says of a folder whose settings name this benchmark."""
    (folder / "results.jsonl").touch()
    (folder / "config.yaml").write_text(json.dumps({"stage": "evaluate", "benchmark": benchmark}))
    config = door.compose("stage=report", f"report.folder={folder}", "dry_run=true")
    assert report(config, CHOICES, Console(stderr=True)) == 0
    return capsys.readouterr().err.replace("\n", " ")


def test_a_file_may_not_choose_a_benchmark_that_is_none(
    search_path: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = {"_target_": "subprocess.Popen", "args": ["touch", str(tmp_path / "made")]}
    assert "is no Benchmark" in report_of(tmp_path, benchmark, search_path, capsys)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "benchmark",
    [
        {"_target_": "hostile_benchmark.X"},
        {"_target_": "film_shop.benchmark.FilmShop", "count": [{"_target_": "hostile_benchmark.X"}]},
    ],
)
def test_a_file_may_not_name_a_module_that_the_command_has_not(
    benchmark: dict[str, Any], search_path: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A run folder of somebody else must not run its own code, even where the folder is on Python's path."""
    (tmp_path / "hostile_benchmark.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    search_path.set_hydra_config()
    assert "hostile_benchmark.X, which is no part of CodeTool" in report_of(tmp_path, benchmark, search_path, capsys)
    assert not (tmp_path / "made").exists()


def test_a_file_may_not_name_an_installed_package_that_is_no_plugin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    benchmark = {"_target_": "film_shop.benchmark.FilmShop", "count": 1}
    assert "which is no part of CodeTool" in report_of(tmp_path, benchmark, Door(), capsys)
    assert not [name for name in sys.modules if name.startswith(PACKAGE)]


def test_a_file_may_not_read_this_machines_variables(
    search_path: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_KEY", "canary-4711")
    search_path.set_hydra_config()
    benchmark = {"_target_": "film_shop.benchmark.FilmShop", "count": "${oc.env:CANARY_KEY}"}
    shown = report_of(tmp_path, benchmark, search_path, capsys)
    assert "canary-4711" not in shown and "cannot be had" in shown


def test_a_replay_repeats_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    door = DOORS["entry_point"](tmp_path / "site", monkeypatch)
    choices, console = CHOICES | {"judge": "none"}, Console(stderr=True)
    first = evaluate(shop(door, tmp_path, "limit=1"), choices, console).folder
    words = [SEARCH_PATH, "policy=replay", f"policy.source=[{first}]", f"outputs={tmp_path}", "logger=none"]
    config = validate(compose_all(words)[0])
    repeated = evaluate(config, CHOICES | {"policy": "replay", "judge": "none", "experiment": "none"}, console)
    assert repeated.failed == 0 and read_metrics(repeated.folder)["metrics"]["success"]["value"] == 1
