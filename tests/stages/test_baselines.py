"""The methods that a paper compares with, from the command line: the same tasks, tools and model, one table."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from chat_server import ChatServer, Reply, chat
from command_line import CommandLine, read_lines, read_metrics
from scripted_policy import ScriptedPolicy, scripted_server
from wandb_files import read

from codetool.benchmarks.tmdb_verified import load_all_rows
from codetool.config.overrides import compose_all

METHODS = ("baseline_whole_program", "baseline_react", "baseline_dfsdt", "paper_tmdb")
GIVES_UP = 'Action: Finish\nAction Input: {"return_type": "give_up_and_restart"}'


class ScriptedMethods:
    """Answers in the form that the prompt asks for. The first ReAct step of a query is given up at the first draw."""

    def __init__(self) -> None:
        self.stepwise = ScriptedPolicy()
        self.rows = {row["query"]: row for row in load_all_rows()}
        self.asked: set[str] = set()

    async def __call__(self, body: dict[str, Any]) -> Reply:
        first = body["messages"][0]["content"]
        row = next(row for query, row in self.rows.items() if query in first)
        if "Action Input" in first:
            said = [message["content"] for message in body["messages"]]
            return chat(self._react(row, said), tokens_out=20)
        if "one complete Python program" in first:
            *steps, last = row["program"]
            program = [line for step in steps for line in step.splitlines() if not line.startswith("print(")]
            return chat("##Step 1: all\n```python\n" + "\n".join([*program, last]) + "\n```\n", tokens_out=50)
        return await self.stepwise(body)

    def _react(self, row: dict[str, Any], said: list[str]) -> str:
        if row["query"] not in self.asked:
            self.asked.add(row["query"])
            return f"Thought: this is hard.\n{GIVES_UP}"
        made = sum("Action: GET" in each for each in said[1::2])
        if made == len(row["calls"]):
            answer = {"return_type": "give_answer", "final_answer": str(row["answer"]["value"])}
            return f"Thought: that is it.\nAction: Finish\nAction Input: {json.dumps(answer)}"
        return f"Thought: on.\n{action(row, made, said[-1])}"


def action(row: dict[str, Any], made: int, observation: str) -> str:
    """The next call of the reference solution, its id taken out of what was observed."""
    called = urlsplit(row["calls"][made].removeprefix("GET "))
    template = next(each for each in row["tools"] if re.fullmatch(re.sub(r"\{\w+\}", r"\\d+", each[4:]), called.path))
    arguments: dict[str, Any] = dict(parse_qsl(called.query))
    for name in re.findall(r"\{(\w+)\}", template):
        found = re.search(r'"id": ?(\d+)', observation)
        arguments[name] = int(found[1]) if found else None
    name = "GET_" + re.sub(r"[{}]", "", template.removeprefix("GET /")).replace("/", "_")
    return f"Action: {name}\nAction Input: {json.dumps(arguments)}"


@pytest.fixture
def methods() -> Iterator[ChatServer]:
    with scripted_server(policy=ScriptedMethods()) as server:
        yield server


def words(server: ChatServer) -> tuple[str, ...]:
    return ("policy=openai", "policy.model=m", f"policy.base_url={server.url}", "prm=none")


def steps(run: CommandLine) -> list[list[dict[str, Any]]]:
    """The nodes of every task."""
    [folder] = (run.outputs / "evaluate").iterdir()
    return [tree["nodes"] for tree in read_lines(folder, "trees")]


def test_a_react_chain_solves_real_tasks(run: CommandLine, methods: ChatServer) -> None:
    done = run(*words(methods), "logger=none", "search=chain", "search.depth=6", "policy_prompt@policy.prompt=react")
    assert done.returncode == 0, done.stderr
    [folder] = (run.outputs / "evaluate").iterdir()
    assert read_metrics(folder)["metrics"]["success"]["value"] == 1.0
    for nodes, result in zip(steps(run), read_lines(folder, "results"), strict=True):
        gave_up, *calls, answer = nodes
        assert (gave_up["execution"]["status"], answer["code"], answer["finished"]) == ("no_code", None, True)
        assert [len(node["execution"]["calls"]) for node in calls] == [1] * len(calls)
        assert {node["execution"]["status"] for node in calls} == {"ok"}
        assert all("requests.get('https://api.themoviedb.org/3/" in node["code"] for node in calls)
        assert result["answer"] == answer["text"]
    read_next = [body["messages"] for body in methods.requests if len(body["messages"]) == 5]
    assert all(message[4]["content"].startswith('Observation: {"') for message in read_next)
    assert all(body["stop"] == ["\nObservation:"] for body in methods.requests)


def test_what_cannot_be_called_is_the_next_observation(run: CommandLine) -> None:
    said = iter(["Action: GET_people\nAction Input: {}", GIVES_UP])
    with scripted_server(policy=lambda body: chat(next(said))) as server:
        done = run(
            *words(server),
            "logger=none",
            "limit=1",
            "search=chain",
            "search.depth=2",
            "policy_prompt@policy.prompt=react",
        )
        assert done.returncode == 0, done.stderr
        observation = server.requests[1]["messages"][2]["content"]
    assert observation.startswith("Observation: ValueError: There is no tool 'GET_people'. The tools are: GET_")
    assert "Traceback" not in observation and observation.count("GET_people") == 1


class GivesUpAfterACall(ScriptedMethods):
    """Gives up once after the first call of a query, and begins in another way when it is asked again."""

    def _react(self, row: dict[str, Any], said: list[str]) -> str:
        made, gave_up = sum("Action: GET" in each for each in said[1::2]), row["query"] in self.asked
        if made == 0 and not gave_up:
            return action(row, 0, said[-1])
        text = super()._react(row, said)
        return text.replace("{", '{"language": "en-US", ', 1) if made == 0 else text


def test_dfsdt_abandons_the_state_in_which_react_gave_up(run: CommandLine) -> None:
    with scripted_server(policy=GivesUpAfterACall()) as server:
        done = run(*words(server), "logger=none", "experiment=baseline_dfsdt")
    assert done.returncode == 0, done.stderr
    for first, gave_up, *calls, answer in map(by_place, steps(run)):
        assert (first["id"], gave_up["id"], gave_up["code"], gave_up["finished"]) == ("1", "1-1", None, False)
        assert [node["id"] for node in (*calls, answer)] == ["2" + "-1" * k for k in range(len(calls) + 1)]
        assert answer["finished"]
    shown = [body["messages"][-1]["content"].count("You have been at this point before") for body in server.requests]
    assert sum(shown) == len(steps(run))  # at the second draw after the root, and nowhere else


def by_place(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(nodes, key=lambda node: [int(place) for place in node["id"].split("-")])


def test_a_replay_reads_react_steps_as_the_run_did(run: CommandLine, methods: ChatServer) -> None:
    assert run(*words(methods), "logger=none", "experiment=baseline_react").returncode == 0
    [source] = (run.outputs / "evaluate").iterdir()
    done = run("policy=replay", f"policy.source=[{source}]", "prm=none", "logger=none", "experiment=baseline_react")
    assert done.returncode == 0, done.stderr
    [again] = set((run.outputs / "evaluate").iterdir()) - {source}
    first, second = (
        {tree["task_id"]: tree["nodes"] for tree in read_lines(folder, "trees")} for folder in (source, again)
    )
    assert first.keys() == second.keys()
    for task, nodes in first.items():
        assert [(node["text"], node["code"]) for node in nodes] == [
            (node["text"], node["code"]) for node in second[task]
        ]


@pytest.mark.parametrize("tracker", ["none", pytest.param("wandb", marks=pytest.mark.slow)])
def test_one_multirun_makes_a_table_with_a_row_a_method(
    run: CommandLine, methods: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tracker: str
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run("-m", *words(methods), "benchmark=tmdb_verified", f"experiment={','.join(METHODS)}", f"logger={tracker}")
    assert done.returncode == 0, done.stderr
    [folder] = (run.outputs / "sweeps").iterdir()
    with (folder / "cells.csv").open() as file:
        table = {row["experiment"]: row for row in csv.DictReader(file)}
    assert tuple(table) == METHODS
    for method, row in table.items():
        assert (row["status"], row["tasks"], row["finished"]) == ("done", "6", "6"), method
        assert float(row["success"]) > 0.5 and float(row["tokens_in"]) > 0 and float(row["tokens_out"]) > 0
    calls = {method: float(row["tool_calls"]) for method, row in table.items()}
    assert calls["baseline_whole_program"] == calls["baseline_react"] == calls["baseline_dfsdt"] > 1
    assert all(method in done.stdout for method in METHODS) and "tool_calls" in done.stdout
    offline = [found for row in table.values() for found in Path(row["folder"]).glob("wandb/offline-run-*")]
    assert [read(found).group for found in offline] == [folder.name] * (4 if tracker == "wandb" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_one_command_names_the_prm_of_the_methods_that_have_one(method: str) -> None:
    [config] = compose_all([f"experiment={method}", "prm.path=/models/prm", "policy=qwen7b_coder"])
    assert config.prm.path == "/models/prm"
    assert (config.prm._target_ == "codetool.prm.none.NoPRM") == method.startswith("baseline")
    assert config.policy.temperature == (0.0 if "chain" in config.search._target_ else 0.9)
