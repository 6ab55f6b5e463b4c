"""A whole run over all queries whose tools are recorded: programs that call them as recorded, or nearly so."""

from __future__ import annotations

import json
import re
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, chat
from command_line import ROOT, CommandLine, lines, metrics
from scripted_policy import scripted_server

from codetool.toolbench import SERVER

ADDRESS = re.compile(rf"GET {re.escape(SERVER)}/(\S+?)/(\S+?)/(\S+)")


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """The file of those queries, made as a user makes it."""
    import os
    import subprocess

    if not (Path(os.environ.get("CODETOOL_DATA", "")) / "stabletoolbench").is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("CODETOOL_DATA holds no stabletoolbench")
    file = tmp_path / "queries.json"
    script = ROOT / "experiments" / "stabletoolbench_table" / "recorded_queries.py"
    subprocess.run([sys.executable, str(script), "--out", str(file)], check=True, cwd=ROOT, capture_output=True)
    return file


def recorded(category: str, tool: str, name: str) -> dict[str, Any]:
    """Arguments of the first call of an API that succeeded, by the recording's own words."""
    import os

    folder = Path(os.environ["CODETOOL_DATA"]) / "stabletoolbench" / "tool_response_cache"
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


def test_recorded_answers_serve_a_whole_run_and_are_counted(run: CommandLine, queries: Path) -> None:
    with scripted_server() as policy:
        policy.handler = write
        words = ("benchmark=stabletoolbench", f"benchmark.queries={queries}", "policy=openai", "policy.model=m")
        done = run(*words, f"policy.base_url={policy.url}", "search=chain", "logger=none")
    assert done.returncode == 0, done.stderr
    folder = run.folder("stabletoolbench-chain")
    results, trees = lines(folder, "results"), lines(folder, "trees")
    calls = [call for tree in trees for node in tree["nodes"] for call in node["execution"]["calls"]]
    assert (
        len(results) == 87 and metrics(folder)["tasks"]["asked"] == 87 and "success" not in metrics(folder)["metrics"]
    )

    counted = re.search(r"published answers: (\d+) canonical, (\d+) exact, (\d+) not recorded", done.stderr)
    assert counted is not None
    canonical, exact, missed = map(int, counted.groups())
    assert canonical + exact + missed == len(calls) == sum(map(len, (literal_eval(line["answer"]) for line in results)))
    assert canonical > 10 and exact > 150 and missed > 30
    assert {call["provenance"] for call in calls} == {"recorded", None}
    assert sum(call["provenance"] == "recorded" for call in calls) == canonical + exact
