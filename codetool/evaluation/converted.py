"""ToolBench's converted answers, the form in which other systems' predictions are published for judging.

A file is one JSON object: a query id names `query`, `available_tools` and `answer`, which holds `final_answer` (the
arguments of the call that finished, as JSON text) and `answer_details`, a tree of messages of which the calls of tools
are the trace (https://github.com/THUNLP-MT/StableToolBench, toolbench/tooleval).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.cases import Case, TraceStep

GIVEN_UP = "give_up_and_restart"
"""What a path says that ends without an answer."""
FINISH = "Finish"
"""The function whose call ends a path; what it says is the final answer, so it is no step of the trace."""


def read(file: Path) -> dict[str, Case]:
    """The cases of a file by query id, in its order. Raises ConfigError if it holds anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): _case(str(name), each) for name, each in content.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} holds no converted answers of ToolBench ({type(error).__name__}: {error}): a JSON object is "
            "needed that gives each query id its query, available_tools and answer with final_answer."
        ) from error


def _case(name: str, record: Mapping[str, Any]) -> Case:
    tools = tuple((str(tool["name"]), str(tool.get("description") or "")) for tool in record["available_tools"])
    answer = record["answer"]
    steps = tuple(_steps(answer.get("answer_details") or []))
    return Case(name, record["query"], final_text(answer["final_answer"]), tools, steps)


def final_text(said: str) -> str:
    """The words of a final answer that is written as the arguments of the call that finished; empty if it gave up."""
    if GIVEN_UP in said:
        return ""
    try:
        arguments = json.loads(said, strict=False)
    except ValueError:
        return said.strip()
    found = arguments.get("final_answer", said) if isinstance(arguments, dict) else said
    return "" if found is None else str(found).strip()


def _steps(messages: Any) -> Iterator[TraceStep]:
    """The calls of tools and the words of the model in a tree of messages, parents first."""
    for message in messages if isinstance(messages, list) else [messages]:
        said = message["message"]
        if message["role"] == "tool":
            called = said if isinstance(said, dict) else {"name": "", "arguments": str(said), "response": ""}
            if called.get("name") != FINISH:
                code = f"{called.get('name')}({called.get('arguments')})"
                yield TraceStep("", code, str(called.get("response") or ""))
        elif message["role"] == "assistant" and said:
            yield TraceStep(str(said), "", "")
        yield from _steps(message.get("next") or [])
