"""ToolBench's converted answers, as other systems' predictions are published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_folder import data_folder

from codetool.errors import ConfigError
from codetool.evaluation.converted import final_text, read


def published(model: str) -> Path:
    group = "stabletoolbench/examples/model_predictions_converted"
    return data_folder(f"{group}/virtual_chatgpt_{model}/G1_instruction.json")


def test_published_predictions_have_query_tools_trace_and_answer() -> None:
    cases = read(published("dfs"))
    assert set(cases) == {"588", "608", "1073"}
    case = cases["1073"]
    assert case.query.startswith("I want to plan a surprise birthday party")
    assert case.answer.startswith("Popular sites for the search query")
    assert ("Finish", "") not in case.tools and "popularsitesforquery_for_keyword_analysis" in dict(case.tools)
    called = [step.code.partition("(")[0] for step in case.steps if step.code]
    assert called == ["popularsitesforquery_for_keyword_analysis", "querykeywords_for_keyword_analysis"]
    assert "pinterest.com" in case.steps[0].observation


def test_a_path_without_a_final_answer_has_none() -> None:
    assert read(published("cot"))["588"].answer == ""


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
    assert final_text(said) == answer


@pytest.mark.parametrize("content", ["[]", "{", json.dumps({"1": {"query": "q"}}), json.dumps({"1": 2}), "\x00"])
def test_another_file_is_refused_in_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigError, match=r"x\.json holds no converted answers"):
        read(tmp_path / "x.json")
