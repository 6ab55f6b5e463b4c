"""`stage=evaluate_prm` on trees that `stage=collect` has just grown, with PRMs that are served, loaded and made up."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tiny_models
from chat_server import Reply, serve_chat
from command_line import CommandLine, read_lines, read_metrics
from fault_proxy import Exchange, FaultProxy, run_proxies
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from scripted_policy import scripted_server
from trajectories import LINE, write_trajectories

from codetool.config.overrides import CONF, compose_all
from codetool.config.run_config import validate
from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.prm.random import RandomPRM
from codetool.stages.evaluate.training_overlap import log_training_overlap
from codetool.stages.evaluate_prm.evaluate_prm import evaluate_prm
from codetool.stages.train import trained_on
from codetool.types import Task

LABELLED = "evaluate_prm.data=agentprocessbench"


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of rollout trees of six tasks; to be read only."""
    run = CommandLine(tmp_path_factory.mktemp("collected"))
    words = ("stage=collect", "benchmark.split=dev", "limit=6", "search.n=3", "search.depth=3", "logger=none")
    with scripted_server() as policy:
        done = run(*words, "policy=openai", "policy.model=m", f"policy.base_url={policy.url}")
    assert done.returncode == 0, done.stderr
    [folder] = run.outputs.glob("collect/*")
    yield folder


@pytest.fixture
def copy(collected: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(collected, tmp_path / "copy"))


def words(data: Path, *more: str) -> tuple[str, ...]:
    return ("stage=evaluate_prm", f"evaluate_prm.runs=[{data}]", *more)


def inside(run: CommandLine, *words: str) -> str:
    """What the stage says on standard error, run in this process: a command line takes seconds to start."""
    prm = next((word.removeprefix("prm=") for word in words if word.startswith("prm=")), "none")
    console = Console(file=io.StringIO(), width=300)
    settings = validate(compose_all([f"outputs={run.outputs}", "logger=none", *words])[0])
    assert evaluate_prm(settings, {"prm": prm, "experiment": "none"}, console).failed == 0
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def folder(run: CommandLine, name: str = "") -> Path:
    """The one result folder whose name starts so."""
    [found] = run.outputs.glob(f"evaluate_prm/{name}*")
    return found


def steps(path: Path, name: str) -> list[tuple[str, str]]:
    return [(line["task_id"], line["node_id"]) for line in read_lines(path, name)]


def opinion(messages: list[dict[str, str]]) -> float:
    """A number that the prompt determines."""
    return hashlib.sha256(json.dumps(messages).encode()).digest()[0] / 255


def remote(url: str) -> tuple[str, ...]:
    return ("prm=remote", "prm.model=m", f"prm.base_url={url.removesuffix('/v1')}")


def test_a_prm_is_measured(run: CommandLine, collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = run(*words(collected, "prm=random"))
    assert done.returncode == 0, done.stderr
    result = folder(run, "tmdb_verified-random-")
    assert sorted(steps(result, "scores")) == sorted(steps(collected, "process"))
    held = read_metrics(result)
    assert (
        0 < held["metrics"]["auroc"]["low"] < held["metrics"]["auroc"]["value"] < held["metrics"]["auroc"]["high"] < 1
    )
    assert held["tasks"] == 6 and held["steps"] == len(read_lines(result, "scores"))
    assert set(held["pairwise_accuracy_by_depth"]) == {"1", "2", "3"}
    assert sum(each["share"] for each in held["reliability"]) == pytest.approx(1)
    assert "template_low" in held["metrics"]["ece"]
    drawn = ElementTree.parse(result / "reliability.svg").getroot()
    assert any(node.text == "share of the steps" for node in drawn.iter())
    for name in held["metrics"]:
        assert f"\n{name} " in done.stdout
    assert "of step 3" in done.stdout and str(result) in done.stdout
    assert not re.search(r"\w…", done.stdout)  # no column is cut off
    assert re.search(
        r"(?m)^judge .*ECE.*\nprm=random .*\nconstant .*\nrandom .*\noracle +100\.0 % +100\.0 %", done.stdout
    )
    assert set(held["references"]) == {"constant", "random", "oracle"}
    choices = {(each["level"], each["n"]): each for each in held["selection"]}
    assert {("steps", 2), ("paths", 2), ("paths", 4)} <= set(choices)
    for each in choices.values():
        assert each["random"]["value"] <= each["oracle"]["value"] and each["pools"] > 0
        assert each["gain"]["value"] == pytest.approx(each["prm"]["value"] - each["random"]["value"])
    assert (result / "selection.svg").is_file() and "recovered" in done.stdout
    scored = {(line["task_id"], line["node_id"]): line["score"] for line in read_lines(result, "scores")}
    examples = {(line["task_id"], line["node_id"]): line for line in read_lines(collected, "process")}
    for line in read_lines(result, "steps"):
        step = line["task_id"], line["node_id"]
        assert line == {name: examples[step][name] for name in line if name != "score"} | {"score": scored[step]}
    assert "W&B: kept offline" in done.stderr and list((result / "wandb").glob("offline-run-*"))


async def test_the_prm_reads_what_it_would_be_trained_on(run: CommandLine, collected: Path) -> None:
    async with serve_chat(lambda body: Reply(body={"response": opinion(body["messages"])})) as server:
        done = await asyncio.to_thread(run, *words(collected, *remote(server.url)))
        asked = [body["messages"] for body in server.requests]
    assert done.returncode == 0, done.stderr
    with initialize_config_dir(str(CONF), version_base="1.3"):
        prompt = instantiate(compose(overrides=["+prm=remote", "prm.base_url=http://x", "prm.model=m"]).prm).prompt
    expected = {}
    for line in read_lines(collected, "process"):
        messages = prompt.with_candidate(line["prefix"], line["node_id"].count("-") + 1, line["step"])
        assert messages in asked
        expected[line["task_id"], line["node_id"]] = opinion(messages)
    scores = {(line["task_id"], line["node_id"]): line["score"] for line in read_lines(folder(run), "scores")}
    assert scores == expected


def test_the_oracle_sees_which_operations_were_called(run: CommandLine, collected: Path) -> None:
    inside(run, *words(collected, "prm=oracle"))
    scores = {(line["task_id"], line["node_id"]): line["score"] for line in read_lines(folder(run), "scores")}
    right = {(line["task_id"], line["node_id"]) for line in read_lines(collected, "process") if line["soft"] > 0}
    assert right and all(scores[step] == 1 for step in right)
    assert read_metrics(folder(run))["metrics"]["first_error_correct"]["value"] == 1


def test_a_model_in_this_process_judges(run: CommandLine, collected: Path, tmp_path: Path) -> None:
    tiny_models.save("qwen2", tmp_path / "prm")
    model = ("prm=qwen7b", f"prm.path={tmp_path / 'prm'}", "prm.precision=float32", "prm.device=cpu")
    inside(run, *words(collected, "limit=2", *model))
    scores = [line["score"] for line in read_lines(folder(run, "tmdb_verified-qwen7b-"), "scores")]
    assert len(scores) > 5 and all(0 < score < 1 for score in scores) and len(set(scores)) > 5


def test_a_larger_limit_continues_the_scores(run: CommandLine, collected: Path) -> None:
    inside(run, *words(collected, "prm=random", "limit=2"))
    order = list(dict.fromkeys(task for task, _ in steps(collected, "process")))
    assert {task for task, _ in steps(folder(run), "scores")} == set(order[:2])
    assert read_metrics(folder(run))["tasks"] == 2
    inside(run, *words(collected, "prm=random"))
    assert (
        len(set(steps(folder(run), "scores")))
        == len(read_lines(folder(run), "scores"))
        == read_metrics(folder(run))["steps"]
    )


async def slow(body: dict[str, Any]) -> Reply:
    await asyncio.sleep(0.1)
    return Reply(body={"response": opinion(body["messages"])})


async def half_done(run: CommandLine, *words: str) -> Any:
    """A process that has scored some of the steps."""
    process = run.start(*words)
    while not (any(run.outputs.glob("evaluate_prm/*/scores.jsonl")) and read_lines(folder(run), "scores")):
        assert process.poll() is None
        await asyncio.sleep(0.02)
    return process


async def test_a_killed_run_goes_on_where_it_was(run: CommandLine, collected: Path) -> None:
    async with serve_chat(slow) as server:
        process = await half_done(run, *words(collected, *remote(server.url), "concurrency=2"))
        process.kill()
        await asyncio.to_thread(process.communicate)
        known = len(read_lines(folder(run), "scores"))
        asked = len(server.requests)
        done = await asyncio.to_thread(run, *words(collected, *remote(server.url)))
        total = len(read_lines(collected, "process"))
        assert done.returncode == 0 and f"scored already: {known}\n" in done.stderr
        assert 0 < known < total and len(server.requests) - asked <= total - known + 3  # part of a group may be torn
    again = {(line["task_id"], line["node_id"]): line["score"] for line in read_lines(folder(run), "scores")}
    assert len(again) == total == read_metrics(folder(run))["steps"]


async def test_ctrl_c_keeps_the_scores(run: CommandLine, collected: Path) -> None:
    async with serve_chat(slow) as server:
        process = await half_done(run, *words(collected, *remote(server.url), "concurrency=2"))
        process.send_signal(signal.SIGINT)
        _, told = await asyncio.to_thread(process.communicate)
    assert process.returncode == 130 and "the same command continues" in told and "Traceback" not in told
    assert read_lines(folder(run), "scores") and not (folder(run) / "metrics.json").exists()


async def test_a_server_that_gives_up_is_one_message_and_the_scores_are_kept(run: CommandLine, collected: Path) -> None:
    served = 0

    def few(body: dict[str, Any]) -> Reply:
        nonlocal served
        served += 1
        return Reply(body={"response": 0.5}) if served < 9 else Reply(400, {"detail": "enough"})

    async with serve_chat(few) as server:
        done = await asyncio.to_thread(run, *words(collected, *remote(server.url), "concurrency=1"))
    assert done.returncode == 1 and "enough" in done.stderr and "Traceback" not in done.stderr
    assert 0 < len(read_lines(folder(run), "scores")) < 9


async def test_a_prm_reads_the_tool_calls_of_an_agent(run: CommandLine, tmp_path: Path) -> None:
    write_trajectories(tmp_path, LINE, LINE | {"sample_index": 2, "final_label": 1, "step_labels": {"2": 1, "6": 1}})
    async with serve_chat(lambda body: Reply(body={"response": opinion(body["messages"])})) as server:
        given = (LABELLED, f"evaluate_prm.agentprocessbench.folder={tmp_path}", "prm_prompt@prm.prompt=tool_call")
        await asyncio.to_thread(inside, run, "stage=evaluate_prm", *given, *remote(server.url))
        asked = [body["messages"][-1]["content"] for body in server.requests if "messages" in body]
    result = folder(run, "agentprocessbench-hotpotqa-remote-")
    expected = [("hotpotqa-3-1", node) for node in ("1", "1-1", "1-1-1")] + [("hotpotqa-3-2", n) for n in ("1", "1-1")]
    assert sorted(steps(result, "scores")) == expected
    last = max(asked, key=len)
    assert last.startswith("Tools:\nsearch(q) Finds.\n\nRequest: Be good.\n\nWho?\n")
    assert last.index("Step 1: I look.\nsearch(") < last.index("nobody\nGo on.") < last.index("Step 3: Somebody.")
    held = read_metrics(result)
    assert held["tasks"] == 2 and held["references"]["constant"]["accuracy"] == pytest.approx(3 / 5)
    assert "steps labelled right" in (result / "reliability.svg").read_text()
    [choice] = held["selection"]
    assert (choice["level"], choice["n"], choice["pools"], choice["random"]["value"]) == ("paths", 2, 1, 0.5)


def test_a_prm_that_cannot_be_had_leaves_no_folder(run: CommandLine, collected: Path) -> None:
    with pytest.raises(UnreachableError, match=r"prm\.base_url"):
        inside(run, *words(collected, *remote("http://127.0.0.1:9/v1")))
    [left] = run.outputs.glob("evaluate_prm/*")  # its log says why
    assert "stopped: UnreachableError" in (left / "log.txt").read_text() and not list(left.glob("*.jsonl"))


def test_only_the_prm_and_the_data_name_the_result(run: CommandLine, collected: Path, copy: Path) -> None:
    inside(run, *words(collected, "prm=random"))
    for data, *more in ((collected, "concurrency=3", "evaluate_prm.threshold=0.7"), (copy / "process.jsonl",)):
        told = inside(run, *words(Path(data), "prm=random", *map(str, more)))
        assert "scored already: 0" not in told and folder(run)
    content = (copy / "process.jsonl").read_text().splitlines(keepends=True)
    (copy / "process.jsonl").write_text("".join(content[:-1]))
    inside(run, *words(copy, "prm=random"))
    inside(run, *words(collected, "prm=random", "seed=1"))  # the random PRM's own seed
    assert len(list(run.outputs.glob("evaluate_prm/*"))) == 3


def test_the_threshold_is_used(run: CommandLine, collected: Path) -> None:
    found = []
    for threshold in ("0", "1"):
        inside(run, *words(collected, "prm=random", f"evaluate_prm.threshold={threshold}"))
        found.append(read_metrics(folder(run))["metrics"]["first_error_correct"]["value"])
    assert found == [1, 0]


def test_a_dry_run_scores_nothing(run: CommandLine, collected: Path) -> None:
    assert "tmdb_verified-random-" in inside(run, *words(collected, "prm=random", "dry_run=true"))
    assert not run.outputs.exists()


def test_a_wrong_word_is_one_message(run: CommandLine) -> None:
    done = run("stage=evaluate_prm", "prm=random")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("error: evaluate_prm.runs is not set")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["prm=none", "evaluate_prm.runs=[x]"], "prm=none judges nothing"),
        (["prm=random", "evaluate_prm.runs=[nowhere]"], "nowhere is not there"),
        (["prm=random", "evaluate_prm.runs=[conf]"], "conf/process.jsonl is not there"),
        (["prm=random", "evaluate_prm.runs=[x]", "evaluate_prm.threshold=2"], "evaluate_prm.threshold=2"),
        (["prm=random", LABELLED, "evaluate_prm.runs=[x]"], "leave evaluate_prm.runs out"),
        (["prm=oracle", LABELLED], "the row oracle is printed beside every PRM"),
        (["prm=pairwise", LABELLED], "prm=pairwise compares siblings"),
        (
            ["prm=random", LABELLED, "evaluate_prm.agentprocessbench.folder=nowhere"],
            "evaluate_prm.agentprocessbench.folder=nowhere is no folder",
        ),
    ],
)
def test_wrong_words_are_named(run: CommandLine, given: list[str], said: str) -> None:
    with pytest.raises(CodeToolError, match=said):
        inside(run, "stage=evaluate_prm", *given)


def test_examples_without_their_trees_cannot_be_read(run: CommandLine, copy: Path) -> None:
    (copy / "rollouts.jsonl").unlink()
    with pytest.raises(CodeToolError, match=r"there is no rollouts\.jsonl"):
        inside(run, *words(copy / "process.jsonl", "prm=random"))
    assert not run.outputs.exists()


def test_examples_of_other_trees_are_refused(run: CommandLine, copy: Path) -> None:
    content = read_lines(copy, "process")
    content[0]["step"] += " or so"
    (copy / "process.jsonl").write_text("".join(json.dumps(line) + "\n" for line in content))
    with pytest.raises(ConfigError, match="do not belong together"):
        inside(run, *words(copy, "prm=random"))


def test_data_of_a_changed_benchmark_are_refused(run: CommandLine, copy: Path) -> None:
    file = copy / "provenance.json"
    file.write_text(file.read_text().replace('"benchmark": "', '"benchmark": "0'))
    with pytest.raises(CodeToolError, match=f"{copy}.*data have changed"):
        inside(run, *words(copy, "prm=random"))


def test_a_task_in_two_folders_is_refused(run: CommandLine, collected: Path, copy: Path) -> None:
    with pytest.raises(ConfigError, match="Measure them apart"):
        inside(run, "stage=evaluate_prm", f"evaluate_prm.runs=[{collected},{copy}]", "prm=random")


def test_its_words_mean_nothing_to_other_stages() -> None:
    with pytest.raises(ConfigError, match="only stage=evaluate_prm reads it"):
        compose_all(["evaluate_prm.threshold=0.4"])
    compose_all(["evaluate_prm.threshold=0.4", "stage=evaluate_prm"])


def test_a_prm_that_fails_on_one_task_is_measured_on_the_others(
    run: CommandLine, collected: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, failing = RandomPRM.score, read_lines(collected, "process")[0]["task_id"]

    async def score(self: RandomPRM, task: Any, *arguments: Any) -> Any:
        if task.id == failing:
            raise ValueError("no such row")
        return await real(self, task, *arguments)

    monkeypatch.setattr(RandomPRM, "score", score)
    data = (f"evaluate_prm.runs=[{collected}]", "prm=random")
    assert evaluate(run, *data) == 1
    assert "1 tasks failed internally and are left out of every number" in capsys.readouterr().out
    content = read_metrics(folder(run))
    assert content["failures"] == [{"task_id": failing, "message": "ValueError: no such row"}]
    assert content["tasks"] == len({line["task_id"] for line in read_lines(collected, "process")}) - 1
    monkeypatch.setattr(RandomPRM, "score", real)
    assert evaluate(run, *data) == 0
    assert read_metrics(folder(run))["tasks"] == content["tasks"] + 1


def evaluate(run: CommandLine, *words: str) -> int:
    settings = validate(compose_all([f"outputs={run.outputs}", "logger=none", "stage=evaluate_prm", *words])[0])
    return evaluate_prm(settings, {"prm": "random", "experiment": "none"}, Console(file=io.StringIO())).failed


def test_the_overlap_with_what_a_prm_was_trained_on_is_told(tmp_path: Path) -> None:
    tasks = {name: Task(name, "", (), template=template) for name, template in (("a", "x"), ("b", "x"), ("c", "y"))}
    trained_on.write_training_tasks(tmp_path, ["a", "d"], ["c"], [])
    trained = trained_on.read_training_tasks(tmp_path)
    assert trained == trained_on.TrainingTasks(frozenset("ad"), frozenset("c"), frozenset())
    with_templates = replace(trained, templates=frozenset("x"))
    assert list(trained_on.describe_overlap(with_templates, tasks)) == [
        "1 of 3 tasks are among those that the PRM was trained on (a)",
        "1 of 3 tasks are among those that the training of the PRM was validated on (c)",
        "1 of 3 tasks come from templates that the PRM was trained on (x)",
    ]
    assert not list(
        trained_on.describe_overlap(with_templates, {"e": Task("e", "", ()), "f": Task("f", "", (), template="z")})
    )
    for content in ("[]", "tasks: 3", "\x00", ""):
        (tmp_path / trained_on.TRAINED_ON_FILE).write_text(content)
        assert trained_on.read_training_tasks(tmp_path) is None


def test_templates_are_read_from_data_that_name_them(tmp_path: Path) -> None:
    data = tmp_path / "transcripts.jsonl"
    lines = [{"task_id": "a", "template": "x"}, {"task_id": "b"}, {"task_id": "d", "template": "z"}, []]
    data.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"task_id"', encoding="utf-8")
    trained_on.write_training_tasks(tmp_path, ["a", "b"], [], [data, tmp_path / "nowhere"])
    trained = trained_on.read_training_tasks(tmp_path)
    assert trained == trained_on.TrainingTasks(frozenset("ab"), frozenset(), frozenset("x"))


def test_a_prm_measured_on_its_training_data_is_warned_of(run: CommandLine, copy: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    ids = [line["task_id"] for line in read_lines(copy, "process")]
    trained_on.write_training_tasks(adapter, ids[:1], (), [copy])
    assert trained_on.read_training_tasks(adapter) is not None and trained_on.read_training_tasks(adapter).templates  # type: ignore[union-attr]
    settings = validate(compose_all([f"outputs={run.outputs}", *words(copy), "prm=smollm2", f"prm.path={adapter}"])[0])
    from codetool.stages.evaluate_prm import prm_eval_dataset
    from codetool.stages.evaluate_prm.evaluate_prm import _describe_overlap

    told = _describe_overlap(settings, prm_eval_dataset.load_prm_eval_dataset(settings.evaluate_prm.runs, None))
    assert told[0].startswith("evaluate_prm.runs: 1 of 6 tasks are among those that the PRM was trained on")


@pytest.mark.parametrize(("split", "overlap"), [("train", [672, 666]), ("dev", []), ("test", []), ("tour", [])])
def test_a_run_tells_the_overlap_with_the_training_of_the_shipped_models(
    split: str, overlap: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = validate(compose_all([f"benchmark.split={split}", "policy=smollm2", "prm=smollm2"])[0])
    with caplog.at_level(logging.INFO):
        log_training_overlap(config, config.benchmark.tasks())
    lines = [record.getMessage() for record in caplog.records]
    if overlap:
        assert [line.split(" (")[0] for line in lines] == [
            f"benchmark: {count} of 700 tasks are among those that {model} was trained on"
            for model, count in zip(("the policy", "the PRM"), overlap, strict=True)
        ]
        assert all(record.levelno == logging.WARNING for record in caplog.records)
    else:
        count = len(config.benchmark.tasks())
        assert lines == [f"none of the {count} tasks is among those that the policy or the PRM was trained on"]


def test_models_without_a_record_of_their_training_are_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    config = validate(compose_all(["policy.path=null", "prm=random"])[0])
    with caplog.at_level(logging.INFO):
        log_training_overlap(config, config.benchmark.tasks())
    assert not caplog.records


def test_the_tasks_of_the_models_that_training_went_on_from_are_told_too(tmp_path: Path) -> None:
    earlier = trained_on.TrainingTasks(frozenset("ab"), frozenset("v"), frozenset("x"))
    trained_on.write_training_tasks(tmp_path, ["b", "c"], ["w"], [], [earlier])
    expected = trained_on.TrainingTasks(frozenset("abc"), frozenset("vw"), frozenset("x"))
    assert trained_on.read_training_tasks(tmp_path) == expected


def test_steps_that_never_get_a_score_cost_their_task_alone(run: CommandLine, collected: Path) -> None:
    lost = read_lines(collected, "results")[0]

    async def score(exchange: Exchange) -> tuple[int, str, bytes]:
        content = {"response": round(len(exchange.body) % 97 / 97, 3)}
        return (404, "", b"") if exchange.method == "GET" else (200, "application/json", json.dumps(content).encode())

    proxy = FaultProxy(score, rate=0.0)
    proxy.is_broken = lambda exchange: (
        "status_503" if json.dumps(lost["query"])[1:-1].encode() in exchange.body else None
    )
    with run_proxies(proxy):
        asked = words(collected, *remote(proxy.url), "prm.retries=1")
        settings = validate(compose_all([f"outputs={run.outputs}", "logger=none", *asked])[0])
        choices = {"prm": "remote", "experiment": "none"}
        assert evaluate_prm(settings, choices, Console(file=io.StringIO())).failed == 1
        metrics = read_metrics(folder(run))
        assert [failure["task_id"] for failure in metrics["failures"]] == [lost["task_id"]]
        assert metrics["faults"]["prm"]["given_up"] >= 1 and "UnreachableError" in metrics["failures"][0]["message"]
        proxy.is_broken = lambda exchange: None
        assert evaluate_prm(settings, choices, Console(file=io.StringIO())).failed == 0
    assert read_metrics(folder(run))["failures"] == []
