"""Results in the layouts of others, read back as their scripts read them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from codetool.process_data.reference_format.reference_results import ReferenceResults
from codetool.prompts.policy_prompt import StepPrompt
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
    prompt = StepPrompt(
        instruction="Solve {{ query }}", result="{{ output }}", max_observation_chars=9, max_response_chars=9
    )
    results = ReferenceResults(tmp_path, "org/model", "greedy", prompt, latent=False)
    results.add(TASK, "G1_instruction", path(), "Ada is a poet.")
    results.add(Task("7", "Where?", (TOOL,)), "G1_instruction", path()[:1], None)
    results.finish()
    return tmp_path


def read(folder: Path, *names: str) -> Any:
    return json.loads(folder.joinpath(*names).read_text())


def test_the_chosen_path_is_the_references(folder: Path) -> None:
    content = read(folder, "stepwise_infer_result", "org_model_wo_latent", "G1_Instruction", "588.json")
    assert (content["q_id"], content["query"], content["instruction"]) == ("588", "Who is Ada?", "Solve Who is Ada?")
    names = [(each["path_name"], each["is_leaf"]) for each in content["infer_path"]]
    assert names == [("1-2", False), ("1-2-1", True)]
    assert content["infer_path"][1]["content"].startswith(content["infer_path"][0]["content"])
    assert {name: each["status"] for name, each in content["exec_res"].items()} == {"1-2": 1, "1-2-1": 0}
    assert content["exec_res"]["1-2-1"] == {"code": "x = 1\nprint(x)", "res": "Ada is a poet.", "status": 0}


def test_its_answer_stands_where_the_references_judge_looks(folder: Path) -> None:
    assert (
        read(folder, "final_answer", "org_model_wo_latent", "G1_Instruction", "588.json")["answer"] == "Ada is a poet."
    )
    assert read(folder, "final_answer", "org_model_wo_latent", "G1_Instruction", "7.json")["answer"] == ""


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


def export(folder: Path, name: str, answer: str | None, *, latent: bool = True) -> None:
    prompt = StepPrompt(instruction="x", result="x", max_observation_chars=9, max_response_chars=9)
    results = ReferenceResults(folder, "m", "beam", prompt, latent=latent)
    results.add(TASK, name, path(), answer)
    results.finish()


def test_with_a_prm_the_folder_says_nothing(tmp_path: Path) -> None:
    export(tmp_path, "tmdb_verified", "a")
    assert (tmp_path / "stepwise_infer_result" / "m" / "tmdb_verified" / "588.json").is_file()


@pytest.mark.parametrize(("latent", "marked"), [(True, ""), (False, "_wo_latent")])
def test_tmdb_has_a_folder_of_its_own_instead_of_the_models(tmp_path: Path, latent: bool, marked: str) -> None:
    export(tmp_path, "tmdb", "a", latent=latent)
    assert [file.relative_to(tmp_path).as_posix() for file in sorted(tmp_path.rglob("*.json"))] == [
        f"final_answer/m{marked}/tmdb/588.json",
        f"model_predictions_converted/m{marked}/tmdb.json",
        f"stepwise_infer_result/tmdb{marked}/588.json",
    ]


@pytest.mark.parametrize(
    ("group", "test_set"),
    [
        ("G1_instruction", "G1_Instruction"), ("G1_category", "G1_Category"), ("G1_tool", "G1_Tool"),
        ("G2_category", "G2_Category"), ("G2_instruction", "G2_Instruction"), ("G3_instruction", "G3_Instruction"),
        ("own group", "own%20group"),
    ],
)  # fmt: skip
def test_each_script_finds_its_own_spelling_of_a_group(tmp_path: Path, group: str, test_set: str) -> None:
    export(tmp_path, group, "a")
    assert (tmp_path / "final_answer" / "m" / test_set / "588.json").is_file()
    assert (tmp_path / "stepwise_infer_result" / "m" / test_set / "588.json").is_file()
    assert (tmp_path / "model_predictions_converted" / "m" / f"{quote(group)}.json").is_file()


@pytest.mark.parametrize("answer", [None, "", " \n"])
def test_a_path_that_printed_no_answer_is_not_finished(tmp_path: Path, answer: str | None) -> None:
    export(tmp_path, "tmdb", answer)
    told = read(tmp_path, "model_predictions_converted", "m", "tmdb.json")["588"]["answer"]
    assert told["final_answer"] == "" and "'name': 'Finish'" not in steps(told)[-1]
    assert told["total_steps"] == 4
    assert read(tmp_path, "final_answer", "m", "tmdb", "588.json")["answer"] == ""
