"""A whole run over all queries whose tools are recorded: programs that call them as recorded, or nearly so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat
from command_line import ROOT, CommandLine, read_lines, read_metrics
from data_folder import data_folder
from scripted_policy import scripted_server

from codetool.tool_calls.toolbench_api import SERVER

pytestmark = pytest.mark.data

ADDRESS = re.compile(rf"GET {re.escape(SERVER)}/(\S+?)/(\S+?)/(\S+)")


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """The file of those queries, made as a user makes it."""
    data_folder("stabletoolbench")
    file = tmp_path / "queries.json"
    script = ROOT / "experiments" / "stabletoolbench_table" / "recorded_queries.py"
    subprocess.run([sys.executable, str(script), "--out", str(file)], check=True, cwd=ROOT, capture_output=True)
    return file


def recorded(category: str, tool: str, name: str) -> dict[str, Any]:
    """Arguments of the first call of an API that succeeded, by the recording's own words."""
    folder = data_folder("stabletoolbench") / "tool_response_cache"
    content = json.loads((folder / category / f"{tool}_for_{category}" / f"{name}.json").read_text())
    known = [text for text, entry in content.items() if not entry["error"]]
    return dict(literal_eval(known[0]))


def program(prompt: str) -> str:
    """Every tool of the prompt called with recorded arguments: as they are, as texts in another order, and wrong."""
    calls = []
    for place, api in enumerate(ADDRESS.findall(prompt)):
        arguments = recorded(*api)
        if place % 3 == 1:
            arguments = {name: str(value) for name, value in reversed(arguments.items())}
        elif place % 3 == 2:
            arguments = {"no_such_argument": "x"}
        url = f"{SERVER}/{'/'.join(api)}"
        calls.append(f"answers.append(requests.get({url!r}, params={arguments!r}).status_code)")
    return "\n".join(["import requests", "answers = []", *calls, "print(answers)"])


def write(body: dict[str, Any]) -> Reply:
    code = program(body["messages"][0]["content"])
    return chat(f"##Step 1: Call every tool.\nPython Code:\n```python\n{code}\n```\n[All Finished]")


def judge(body: dict[str, Any]) -> Reply:
    """Solved where every call was answered, Unsure where some were, in words of a model that chats."""
    [answer] = re.findall(r"\[[\d, ]+\]", body["messages"][-1]["content"].partition("Answer:")[2])[:1]
    statuses = literal_eval(answer)
    label = "Solved" if set(statuses) == {200} else "Unsure" if 200 in statuses else "Unsolved"
    return chat(f'Sure! {{"answer_status": "{label}", "reason": "so it is"}}')


def test_recorded_answers_serve_a_whole_run_that_is_judged_and_exported(run: CommandLine, queries: Path) -> None:
    with scripted_server(policy=write) as policy, scripted_server(policy=judge) as judging:
        words = ("benchmark=stabletoolbench", f"benchmark.queries={queries}", "policy=openai", "policy.model=m")
        words += (f"policy.base_url={policy.url}", "search=chain", "logger=none", "export=reference")
        judged = ("judge=codetool", "judge.model=j", f"judge.base_url={judging.url}")
        done = run(*words, *judged)
        assert done.returncode == 0, done.stderr
        folder = run.folder("stabletoolbench-chain")
        results, content = read_lines(folder, "results"), read_metrics(folder)
        file = folder / "reference" / "model_predictions_converted" / "m_wo_latent" / "G1_category.json"
        again = run("stage=judge", f"judge_stage.folder={file}", *judged, "logger=none")
        assert again.returncode == 0, again.stderr

    tasks = json.loads(queries.read_text())
    calls = [
        call for tree in read_lines(folder, "trees") for node in tree["nodes"] for call in node["execution"]["calls"]
    ]
    counted = re.search(r"published answers: (\d+) canonical, (\d+) exact, (\d+) not recorded", done.stderr)
    assert counted is not None and len(results) == content["tasks"]["asked"] == len(tasks) > 80
    canonical, exact, missed = map(int, counted.groups())
    assert canonical + exact + missed == len(calls) == sum(map(len, (literal_eval(line["answer"]) for line in results)))
    assert canonical > 10 and exact > 150 and missed > 30
    assert sum(call["provenance"] == "recorded" for call in calls) == canonical + exact == len(calls) - missed

    scores = {line["task_id"]: score(literal_eval(line["answer"])) for line in results}
    assert content["metrics"]["sopr"]["value"] == pytest.approx(sum(scores.values()) / len(tasks))
    groups = {task["query_id"]: task["group"] for task in tasks}
    assert set(content["groups"]) == {"G1_instruction", "G1_category", "G2_category"}
    for name, each in content["groups"].items():
        own = [scores[str(query)] for query, group in groups.items() if group == name]
        assert each["asked"] == len(own) and each["metrics"]["sopr"]["value"] == pytest.approx(sum(own) / len(own))
    assert "success" not in content["metrics"] and "G1_category" in done.stdout

    [rejudged] = run.outputs.glob("judge/*")
    assert (
        read_metrics(rejudged)["metrics"]["sopr"]["value"]
        == content["groups"]["G1_category"]["metrics"]["sopr"]["value"]
    )
    assert len(list((folder / "reference" / "stepwise_infer_result").rglob("*.json"))) == len(tasks)


def score(statuses: list[int]) -> float:
    return 1.0 if set(statuses) == {200} else 0.5 if 200 in statuses else 0.0
