"""Trajectories of AgentProcessBench: how lines are read, how files are had, what the judge that says "right" gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from data_folder import data_folder
from file_server import file_server
from trajectories import LINE, write_trajectories

from codetool.errors import CodeToolError, ConfigError
from codetool.evaluation.prm_references import compute_reference_metrics
from codetool.process_data.agentprocessbench import RAW, SOURCE, AgentProcessBench, load_trajectories
from codetool.stages.evaluate_prm.labelled_trajectories import load_labelled_trajectories


def source(folder: Path | None, mirror: str = RAW, *parts: Any) -> AgentProcessBench:
    return AgentProcessBench(parts=parts or ("hotpotqa",), folder=folder, mirror=mirror)


def test_messages_of_the_agent_are_steps_and_what_comes_back_is_their_observation(tmp_path: Path) -> None:
    [trajectory] = load_trajectories("hotpotqa", write_trajectories(tmp_path, LINE))
    assert trajectory.task.id == "hotpotqa-3-1" and trajectory.task.template == "hotpotqa-3"
    assert trajectory.task.query == "Be good.\n\nWho?" and not trajectory.success
    [tool] = trajectory.task.tools
    assert (tool.name, tool.summary, [each.name for each in tool.parameters]) == ("search", "Finds.", ["q"])
    steps = [(node.step.text, node.execution.observation) for node in trajectory.nodes if node.step and node.execution]
    assert steps == [
        ('I look.\nsearch({"q": "who"})', "nobody\nGo on."),
        ('search({"q": "who else"})', ""),
        ("Somebody.", ""),
    ]
    assert trajectory.labels == [1, 0, -1] and trajectory.nodes[-1].finished


def test_neutral_is_not_right_and_no_error(tmp_path: Path) -> None:
    write_trajectories(tmp_path, LINE)
    data = load_labelled_trajectories(source(tmp_path), None)
    assert [(each.label, each.soft, each.hard) for each in data.examples] == [
        (True, 1, True), (False, 0, True), (False, 0, False),
    ]  # fmt: skip
    assert [(each.node_id, each.group) for each in data.examples] == [("1", "0"), ("1-1", "1"), ("1-1-1", "1-1")]
    assert [len(group.path) for group in data.groups] == [0, 1, 2]
    found = compute_reference_metrics(data.examples, threshold=0.5, seed=0)
    assert found["constant"]["accuracy"] == pytest.approx(1 / 3)
    assert found["constant"]["first_error_accuracy"] == 0 and found["oracle"]["first_error_accuracy"] == 1


def test_a_step_without_a_label_is_read_but_not_judged(tmp_path: Path) -> None:
    write_trajectories(tmp_path, LINE | {"step_labels": {"2": 1, "6": 1}})
    data = load_labelled_trajectories(source(tmp_path), None)
    assert [each.node_id for each in data.examples] == ["1", "1-1"]
    assert [len(group.path) for group in data.groups] == [0, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step_labels": {"2": 5}}, r"line 1: step_labels\.2"),
        ({"messages": 3}, r"line 1: messages"),
        ({"messages": LINE["messages"][:2]}, r"line 1: messages.*none of them has the role assistant"),
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_trajectories(tmp_path, LINE | change)
    with pytest.raises(ConfigError, match=message):
        source(tmp_path).load()


def test_a_part_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))
    with file_server() as server:
        address = SOURCE.removeprefix(RAW) + "/tau2.jsonl"
        server.files[address] = json.dumps(LINE).encode() + b"\n"
        for _ in range(2):
            assert source(None, server.url, "tau2").load()[0].task.id == "tau2-3-1"
        assert server.asked.count(address) == 1 and (tmp_path / "cache/data/agentprocessbench/tau2.jsonl").is_file()
        server.files[address.replace("tau2", "hotpotqa")] = b"another file"
        with pytest.raises(CodeToolError, match=r"(?s)another file: its sha256 is .*agentprocessbench\.mirror=URL"):
            source(None, server.url, "hotpotqa").load()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodeToolError, match="is no folder"):
        source(tmp_path / "nowhere").load()


@pytest.mark.data
def test_a_judge_that_always_says_right_scores_what_is_published() -> None:
    file = data_folder("agentprocessbench/hotpotqa.jsonl")
    data = load_labelled_trajectories(source(file.parents[1]), None)
    assert (len(data.tasks), len(data.examples)) == (250, 734)
    constant = compute_reference_metrics(data.examples, threshold=0.5, seed=0)["constant"]
    assert f"{100 * constant['accuracy']:.1f}" == "68.0" and constant["accuracy"] == 499 / 734
    assert f"{100 * constant['first_error_accuracy']:.1f}" == "58.4" and constant["first_error_accuracy"] == 146 / 250
