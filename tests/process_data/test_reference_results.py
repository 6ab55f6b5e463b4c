"""Results in the layouts of others, read back as their scripts read them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from codetool.process_data.reference_results import ReferenceResults
from codetool.prompts import StepPrompt
from codetool.types import Execution, Node, Parameter, Step, Task, Tool

TOOL = Tool("artist_for_clique", "GET", "http://s", "/Data/clique/artist", "Artist info", (Parameter("n", "query"),))
TASK = Task("588", "Who is Ada?", (TOOL,))


def path() -> list[Node]:
    root = Node("0")
    first = Node(
        "2", root, 1, Step("##Step 1: Ask.\nPython Code:\n```python\nx = 1\n```", "x = 1", False),
        Execution("exception", "half", "KeyError: 'a' (line 1: x)"), 0.0,
    )  # fmt: skip
    last = Step("##Step 2: Tell.\nPython Code:\n```python\nprint(x)\n```\n[All Finished]", "print(x)", True)
    return [first, Node("2-1", first, 2, last, Execution("ok", "Ada is a poet."), 1.0)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prompt = StepPrompt(instruction="Solve {{ query }}", result="{{ output }}", observation=9, response=9)
    results = ReferenceResults(tmp_path, "org/model", "greedy", prompt, latent=False)
    results.add(TASK, "G1_instruction", path(), "Ada is a poet.")
    results.add(Task("7", "Where?", (TOOL,)), "G1_instruction", path()[:1], None)
    results.finish()
    return tmp_path


def read(folder: Path, *names: str) -> Any:
    return json.loads(folder.joinpath(*names).read_text())


def test_the_chosen_path_is_the_references(folder: Path) -> None:
    content = read(folder, "stepwise_infer_result", "org_model_wo_latent", "G1_instruction", "588.json")
    assert (content["q_id"], content["query"], content["instruction"]) == ("588", "Who is Ada?", "Solve Who is Ada?")
    names = [(each["path_name"], each["is_leaf"]) for each in content["infer_path"]]
    assert names == [("1-2", False), ("1-2-1", True)]
    assert content["infer_path"][1]["content"].startswith(content["infer_path"][0]["content"])
    assert {name: each["status"] for name, each in content["exec_res"].items()} == {"1-2": 1, "1-2-1": 0}
    assert content["exec_res"]["1-2-1"] == {"code": "x = 1\nprint(x)", "res": "Ada is a poet.", "status": 0}


def test_its_answer_stands_where_the_references_judge_looks(folder: Path) -> None:
    assert (
        read(folder, "final_answer", "org_model_wo_latent", "G1_instruction", "588.json")["answer"] == "Ada is a poet."
    )
    assert read(folder, "final_answer", "org_model_wo_latent", "G1_instruction", "7.json")["answer"] == ""


def steps(answer: Any) -> list[str]:
    """The messages below the user's, as ToolEval walks them: the first child of each, until there is none."""
    found, nodes = [], answer["answer_details"]
    while nodes:
        if nodes[0]["role"] not in ("system", "user"):
            found.append(str(nodes[0]["message"]))
        nodes = nodes[0]["next"]
    return found


def test_tooleval_finds_the_steps_and_the_answer(folder: Path) -> None:
    content = read(folder, "model_predictions_converted", "org_model_wo_latent", "G1_instruction.json")
    assert set(content) == {"588", "7"}
    solved, unsolved = content["588"], content["7"]
    assert [each["name"] for each in solved["available_tools"]] == ["artist_for_clique", "python", "Finish"]
    assert json.loads(solved["answer"]["final_answer"])["final_answer"] == "Ada is a poet."
    told = [ast.literal_eval(each) for each in steps(solved["answer"])]
    assert [each["name"] for each in told] == ["python", "python", "Finish"]
    assert json.loads(told[0]["response"]) == {"error": "KeyError: 'a' (line 1: x)", "response": "half"}
    assert json.loads(told[1]["arguments"]) == {"code": "print(x)"}
    assert unsolved["answer"]["final_answer"] == "" and "'name': 'Finish'" not in steps(unsolved["answer"])[-1]


def test_with_a_prm_the_folder_says_nothing(tmp_path: Path) -> None:
    prompt = StepPrompt(instruction="x", result="x", observation=9, response=9)
    ReferenceResults(tmp_path, "m", "beam", prompt, latent=True).add(TASK, "tmdb", path(), "a")
    assert (tmp_path / "stepwise_infer_result" / "m" / "tmdb" / "588.json").is_file()
