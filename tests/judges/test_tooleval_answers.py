"""ToolBench's converted answers, as other systems' predictions are published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_folder import data_folder

from codetool.errors import ConfigError, MissingError
from codetool.judges.tooleval_answers import load_converted_file, parse_final_answer
from codetool.stages.judge.answer_source import load_answers


def published(model: str) -> Path:
    group = "stabletoolbench/examples/model_predictions_converted"
    return data_folder(f"{group}/virtual_chatgpt_{model}/G1_instruction.json")


@pytest.mark.data
def test_published_predictions_have_query_tools_trace_and_answer() -> None:
    cases = load_converted_file(published("dfs"))
    assert set(cases) == {"588", "608", "1073"}
    case = cases["1073"]
    assert case.query.startswith("I want to plan a surprise birthday party")
    assert case.answer.startswith("Popular sites for the search query")
    assert ("Finish", "") not in case.tools and "popularsitesforquery_for_keyword_analysis" in dict(case.tools)
    called = [step.code.partition("(")[0] for step in case.steps if step.code]
    assert called == ["popularsitesforquery_for_keyword_analysis", "querykeywords_for_keyword_analysis"]
    assert "pinterest.com" in case.steps[0].observation


@pytest.mark.data
def test_a_path_without_a_final_answer_has_none() -> None:
    assert load_converted_file(published("cot"))["588"].answer == ""


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ('{"return_type": "give_answer", "final_answer": "12\nfilms"}', "12\nfilms"),
        ('{"return_type": "give_up_and_restart"}', ""),
        ('{"final_answer": "say "12""}', '{"final_answer": "say "12""}'),
        ("just words", "just words"), ("12", "12"), ("", ""),
    ],
)  # fmt: skip
def test_a_final_answer_is_the_words_in_the_last_call(said: str, answer: str) -> None:
    assert parse_final_answer(said) == answer


RECORD = {
    "query": "Who is Ada?",
    "available_tools": [{"name": "find", "description": "finds"}],
    "answer": {
        "final_answer": json.dumps({"return_type": "give_answer", "final_answer": "A poet."}),
        "answer_details": [{"role": "system", "message": "", "next": [
            {"role": "tool", "message": {"name": "find", "arguments": "{}", "response": "Ada"}, "next": []}]}],
    },
}  # fmt: skip


def written(file: Path, content: object) -> Path:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "find", "description": "finds"},
        {"type": "function", "function": {"name": "find", "description": "finds", "parameters": {}}},
        {"type": "function", "function": json.dumps({"name": "find", "description": "finds"})},
        json.dumps({"type": "function", "function": {"name": "find", "description": "finds"}}),
    ],
)
def test_tools_are_read_in_every_spelling(tmp_path: Path, tool: object) -> None:
    file = written(tmp_path / "x.json", {"1": RECORD | {"available_tools": [tool, {"function": {"name": "Finish"}}]}})
    assert load_converted_file(file)["1"].tools == (("find", "finds"), ("Finish", ""))


@pytest.mark.parametrize("part", ["available_tools", "answer", "answer_details", "final_answer", "record"])
def test_parts_may_be_json_text_and_final_arguments_an_object(tmp_path: Path, part: str) -> None:
    record, answer = dict(RECORD), dict(RECORD["answer"])  # type: ignore[call-overload]
    if part == "final_answer":
        answer[part] = json.loads(answer[part])
    elif part == "answer_details":
        answer[part] = json.dumps(answer[part])
    record["answer"] = answer
    if part in record:
        record[part] = json.dumps(record[part])
    content = {"1": json.dumps(record) if part == "record" else record}
    assert load_converted_file(written(tmp_path / "x.json", content)) == load_converted_file(
        written(tmp_path / "y.json", {"1": RECORD})
    )
    [case] = load_converted_file(tmp_path / "x.json").values()
    assert (case.answer, [step.code for step in case.steps]) == ("A poet.", ["find({})"])


def test_a_trace_may_be_deep(tmp_path: Path) -> None:
    message: dict[str, object] = {"role": "assistant", "message": "last", "next": []}
    for _ in range(400):
        message = {"role": "assistant", "message": "on", "next": [message]}
    record = RECORD | {"answer": {"final_answer": "", "answer_details": [message]}}
    assert len(load_converted_file(written(tmp_path / "x.json", {"1": record}))["1"].steps) == 401


def test_a_file_of_one_record_is_the_query_that_it_is_named_after(tmp_path: Path) -> None:
    assert list(load_converted_file(written(tmp_path / "588.json", RECORD))) == ["588"]


def test_a_folder_holds_files_of_groups_or_of_queries(tmp_path: Path) -> None:
    written(tmp_path / "G1_tool.json", {"1": RECORD, "2": RECORD})
    written(tmp_path / "7.json", RECORD)
    found = load_answers(tmp_path, "judge_stage.folder", None)
    assert (found.asked, found.groups) == (("7", "1", "2"), {"1": "G1_tool", "2": "G1_tool"})
    written(tmp_path / "G1_other.json", {"2": RECORD})
    with pytest.raises(ConfigError, match=r"judge_stage\.folder=.*G1_other.json and .*G1_tool\.json both hold"):
        load_answers(tmp_path, "judge_stage.folder", None)


def test_a_missing_file_is_called_a_missing_file(tmp_path: Path) -> None:
    for name in ("x.json", "folder"):
        with pytest.raises(MissingError, match=f"judge_stage.folder=.*{name}: there is no such file"):
            load_answers(tmp_path / name, "judge_stage.folder", None)
    file = written(tmp_path / "1.json", RECORD)
    with pytest.raises(MissingError, match=r"judge_stage\.ids=.*ids\.json: there is no such file"):
        load_answers(file, "judge_stage.folder", None, tmp_path / "ids.json")


@pytest.mark.parametrize("content", ["[]", "{", json.dumps({"1": {"query": "q"}}), json.dumps({"1": 2}), "\x00", ""])
def test_another_file_is_refused_in_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigError, match=r"x\.json holds no converted answers"):
        load_converted_file(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"query": 3}, "query is a number, not a text"),
        ({"available_tools": [{"type": "function"}]}, r"the key available_tools\[0\]\.name is missing"),
        ({"available_tools": [{"function": {}}]}, r"the key available_tools\[0\]\.function\.name is missing"),
        ({"available_tools": {"name": "find"}}, "available_tools is an object, not a list"),
        ({"available_tools": ["find"]}, r"available_tools\[0\] is a text, not an object"),
        ({"answer": []}, "answer is a list, not an object"),
        ({"answer": {}}, r"the key answer\.final_answer is missing"),
        ({"answer": {"final_answer": 5}}, r"answer\.final_answer is a number"),
        (
            {"answer": {"final_answer": "", "answer_details": [{"role": "system", "message": "", "next": [{}]}]}},
            r"the key answer\.answer_details\[0\]\.next\[0\]\.message is missing",
        ),
    ],
)
def test_an_error_names_file_query_and_key(tmp_path: Path, change: dict[str, object], told: str) -> None:
    file = written(tmp_path / "x.json", {"588": RECORD, "590": RECORD | change})
    with pytest.raises(ConfigError, match=rf"x\.json holds no converted answers: query 590: .*{told}"):
        load_converted_file(file)


def test_a_raw_answer_file_is_called_unconverted(tmp_path: Path) -> None:
    file = written(tmp_path / "588_CoT@1.json", {"answer_generation": {}, "tree": {}})
    with pytest.raises(ConfigError, match=r"Convert its folder with ToolBench's convert_to_answer_format\.py"):
        load_converted_file(file)
