"""`codetool.results.load`: data frames of runs, sweeps and folders of earlier versions, and messages about bad ones."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doc_commands import ROOT
from sweep_folder import result_line, write_sweep

import codetool.results
from codetool.errors import CodeToolError, ConfigError, MissingError

RECORDED = ROOT / "notebooks/recorded"
"""A run folder of an earlier version, without provenance."""


def write_lines(file: Path, *lines: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RECORDED, tmp_path / "copy"))


def test_a_folder_of_an_earlier_version_is_tasks_steps_and_calls() -> None:
    results = codetool.results.load(RECORDED)
    [line] = [json.loads(text) for text in (RECORDED / "results.jsonl").read_text().splitlines()]
    [tree] = [json.loads(text) for text in (RECORDED / "trees.jsonl").read_text().splitlines()]
    [task] = results.tasks.to_dict("records")
    assert {"query": task["query"], "answer": task["answer"], "path": task["path"]}.items() <= line.items()
    assert task["run"] == "recorded" and task["success"] is True and task["steps"] == len(line["path"])
    assert task["tokens_in"] == line["metrics"]["tokens_in"] and task["error_kind"] is None
    steps = results.steps.set_index("node_id")
    assert list(steps.index) == [node["id"] for node in tree["nodes"]]
    assert list(steps[steps.chosen].index) == line["path"]
    for node in tree["nodes"]:
        assert steps.loc[node["id"], "cumulative"] == node["cumulative"]
        assert steps.loc[node["id"], "status"] == node["execution"]["status"]
    calls = [call for node in tree["nodes"] for call in node["execution"]["calls"]]
    assert list(results.calls.url) == [call["url"] for call in calls]
    assert list(results.calls.answered) == [200 <= call["http_status"] < 300 for call in calls]
    assert list(results.runs.status) == ["done"] and set(results.runs.columns) == {"run", "status", "folder"}


def test_steps_of_a_collection_have_their_estimates(copy: Path) -> None:
    example = {"task_id": json.loads((copy / "trees.jsonl").read_text().splitlines()[0])["task_id"], "node_id": "1"}
    write_lines(
        copy / "process.jsonl",
        example | {"executed": True, "soft": 0.25, "hard": True, "latent": 0.9, "label": None},
    )
    steps = codetool.results.load(copy).steps
    first = steps.set_index("node_id").loc["1"]
    assert first.soft == 0.25 and first.latent_estimate == 0.9 and first.latent != 0.9
    assert steps.soft.isna().sum() == len(steps) - 1


def test_a_sweep_is_one_frame_with_the_swept_options(tmp_path: Path) -> None:
    lines = [result_line("a", True, scep=1.0), result_line("b", False, scep=0.5)]
    cells = [({"search.n": str(n), "prm": prm}, lines) for n in (1, 2) for prm in ("none", "smollm2")]
    sweep = write_sweep(tmp_path, [*cells, ({"search.n": "4", "prm": "none"}, ())])
    results = codetool.results.load(sweep)
    assert list(results.tasks.columns[:3]) == ["run", "search.n", "prm"] and len(results.tasks) == 8
    assert results.tasks.groupby("search.n").success.mean().to_dict() == {1: 0.5, 2: 0.5}
    assert set(results.tasks.run) == {f"search.n={n} prm={prm}" for n in (1, 2) for prm in ("none", "smollm2")}
    assert list(results.runs.status) == [*["done"] * 4, "failed: no model"]
    assert list(results.runs.folder.isna()) == [*[False] * 4, True]
    assert results.steps.empty and results.calls.empty


def test_scores_of_a_prm_are_steps(tmp_path: Path) -> None:
    scores = [{"task_id": "a", "node_id": node, "score": score} for node, score in (("1", 0.1), ("2", 0.9), ("1", 0.3))]
    write_lines(tmp_path / "scores.jsonl", *scores)
    assert dict(codetool.results.load(tmp_path).steps.set_index("node_id").score) == {"1": 0.3, "2": 0.9}


def test_what_is_odd_but_valid_is_read(tmp_path: Path) -> None:
    odd = result_line("t-10", True) | {"answer": "\ud800", "repeat": 2, "ledger": {"judge": {"tokens_in": 7}}}
    write_lines(tmp_path / "results.jsonl", result_line("t-2", False), odd, result_line("t-2", True))
    write_lines(tmp_path / "judged.jsonl", {"task_id": "t-2", "sopr": 0.5, "labels": [], "reason": ""})
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"task_id": "torn')
    tasks = codetool.results.load(str(tmp_path)).tasks
    assert list(tasks.task_id) == ["t-2", "t-10"] and list(tasks.success) == [True, True]
    assert tasks.answer[1] == "\ud800" and tasks.repeat[1] == 2 and tasks["judge.tokens_in"][1] == 7
    assert tasks.sopr[0] == 0.5 and tasks.usd.isna().all()


def test_two_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        write_lines(tmp_path / parent / "run" / "results.jsonl", result_line("t", True))
    tasks = codetool.results.load(tmp_path / "a/run", tmp_path / "b/run").tasks
    assert list(tasks.run) == [str(tmp_path / "a/run"), str(tmp_path / "b/run")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, "", r"nowhere is no folder\. Name one of a run, outputs/STAGE/NAME"),
        ("log.txt", "", r"holds no results: there is no results\.jsonl of stage=evaluate"),
        ("results.jsonl", "{}\n", r"results\.jsonl, line 1, has another shape .*'error'"),
        ("results.jsonl", "x\n", r"results\.jsonl, line 1, is no JSON object"),
        ("results.jsonl", '{"task_id":"t","error":[],"metrics":3}\n', r"line 1, has another shape"),
        ("trees.jsonl", '{"task_id":"t","nodes":[{"execution":3}]}\n', r"trees\.jsonl, line 1, has another shape"),
        ("trees.jsonl", '{"task_id":"t","nodes":[{"execution":null,"id":"1"}]}\n', r"line 1, has another shape"),
        ("scores.jsonl", '{"task_id":"t"}\n', r"scores\.jsonl, line 1, has another shape .*node_id"),
        ("cells.csv", "a,b\n1,2\n", r"cells\.csv is not the table of a sweep"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str | None, content: str, message: str) -> None:
    folder = tmp_path / "nowhere"
    if name is not None:
        folder.mkdir()
        if name == "trees.jsonl":
            write_lines(folder / "results.jsonl", result_line("t", True))
        (folder / name).write_text(content)
    with pytest.raises(CodeToolError, match=message):
        results = codetool.results.load(folder)
        _ = results.tasks, results.steps


def test_no_folder_at_all_is_named() -> None:
    for folders in ((), ([],)):
        with pytest.raises(ConfigError, match=r"load\('outputs/evaluate/NAME'\)"):
            codetool.results.load(*folders)


def test_folders_may_be_a_list(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write_lines(folder / "results.jsonl", result_line("t", True))
    listed, alone = codetool.results.load(folders), codetool.results.load(*map(str, folders))
    assert listed.tasks.run.tolist() == alone.tasks.run.tolist() == ["a", "b"]


def test_pandas_that_is_missing_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name == "pandas":
            raise ImportError("no pandas")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingError, match=r"^codetool\.results needs pandas.*pip install 'codetool\[results\]'$"):
        codetool.results.load(RECORDED)


def test_the_example_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/reference/python_api.md").read_text(encoding="utf-8")
    [example] = [code for code in re.findall(r"(?ms)^```python\n(.*?)^```", page) if "results.load" in code]
    shutil.copytree(RECORDED, tmp_path / "outputs/evaluate/FOLDER")
    monkeypatch.chdir(tmp_path)
    exec(example, {})  # noqa: S102 - our own page
    assert "http_status" in capsys.readouterr().out


@pytest.mark.slow
def test_a_hundred_thousand_lines_take_seconds(tmp_path: Path) -> None:
    line = json.loads((RECORDED / "results.jsonl").read_text())
    write_lines(tmp_path / "results.jsonl", *(line | {"task_id": f"t-{number}"} for number in range(100_000)))
    started = time.process_time()
    assert len(codetool.results.load(tmp_path).tasks) == 100_000
    assert time.process_time() - started < 5
