"""Read ToolBench's converted answers: the files in which other systems' predictions are published for judging.

A file is one JSON object that gives each query id its record: `query`, `available_tools`, and `answer` with
`final_answer` (the arguments of the call that finished, as JSON text) and `answer_details` (a tree of messages, in
which the calls of tools are the trace). See https://github.com/THUNLP-MT/StableToolBench, toolbench/tooleval.

A tool is written as `{"name": …}` or, by newer versions, as `{"type": "function", "function": {"name": …}}`. Any part
of a record may also be the JSON text of that part. Errors name the file, the query id and the key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError, MissingError
from codetool.judges.cases import JudgeInput, TraceStep
from codetool.runs.bounded_input import parse_json, read_text

GIVE_UP_MARKER = "give_up_and_restart"
"""Text in the final answer of a path that gave up."""
FINISH_FUNCTION = "Finish"
"""Function whose call ends a path. Its arguments are the final answer, so the call is no step of the trace."""
MAX_TRACE_DEPTH = 2_000
"""Maximum nesting depth of a file: a trace is nested once for each message."""
FORMAT_HINT = (
    "ToolBench's converted answers are a JSON object that gives each query id its query, available_tools and answer "
    "with final_answer."
)
UNCONVERTED_KEY = "answer_generation"
"""Key that only files of ToolBench's inference have, before their conversion."""


class _MalformedError(ValueError):
    """A part of a file that cannot be read; the text names its key and what is wrong with it."""


def load_converted_file(file: Path) -> dict[str, JudgeInput]:
    """Read the cases of one file by query id, in its order.

    A file that holds a single record gives one case, whose id is the file's name without `.json`.

    Raises:
        MissingError: There is no such file.
        ConfigError: The file cannot be read, or holds anything else.
    """
    content = _load_json(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file} holds no converted answers: it is {_describe_json_type(content)}. {FORMAT_HINT}")
    if UNCONVERTED_KEY in content:
        raise ConfigError(
            f"{file} holds no converted answers, but the answer to one query as inference wrote it (it has the key "
            f"{UNCONVERTED_KEY}). Convert its folder with ToolBench's convert_to_answer_format.py first."
        )
    records = {file.stem: content} if {"query", "answer"} <= content.keys() else content
    cases = {}
    for query_id, record in records.items():
        try:
            cases[query_id] = _read_case(query_id, _parse_text(record))
        except _MalformedError as error:
            raise ConfigError(f"{file} holds no converted answers: query {query_id}: {error}. {FORMAT_HINT}") from error
    return cases


def load_converted_folder(folder: Path) -> dict[Path, dict[str, JudgeInput]]:
    """Read the cases of every `.json` of a folder, in the order of their names.

    Raises:
        ConfigError: There is no such file, one cannot be read, or two of them hold the same query id.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ConfigError(f"{folder} holds no .json, so there are no converted answers in it.")
    cases_by_file = {file: load_converted_file(file) for file in files}
    owners: dict[str, Path] = {}
    for file, cases in cases_by_file.items():
        for query_id in cases:
            if other := owners.get(query_id):
                raise ConfigError(f"{other} and {file} both hold query {query_id}: name one of the files.")
            owners[query_id] = file
    return cases_by_file


def _load_json(file: Path) -> Any:
    if not file.exists():
        raise MissingError(f"There is no file {file}.")
    try:
        return parse_json(read_text(file), MAX_TRACE_DEPTH)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} holds no converted answers: {error}. {FORMAT_HINT}") from error


def _read_case(query_id: str, record: Any) -> JudgeInput:
    answer = _parse_text(_get(record, "answer", ""))
    return JudgeInput(
        query_id,
        _get_text(record, "query", ""),
        parse_final_answer(_read_final_answer(answer)),
        tuple(_read_tools(_parse_text(_get(record, "available_tools", "")))),
        tuple(_read_steps(_parse_text(answer.get("answer_details")))),
    )


def _read_final_answer(answer: Any) -> str:
    text = _get(answer, "final_answer", "answer.")
    if isinstance(text, dict):  # the arguments themselves instead of their JSON text
        return json.dumps(text)
    if text is not None and not isinstance(text, str):
        raise _MalformedError(f"answer.final_answer is {_describe_json_type(text)}, not a text")
    return text or ""


def _read_tools(tools: Any) -> Iterator[tuple[str, str]]:
    """Name and description of each tool that was offered."""
    if not isinstance(tools, list):
        raise _MalformedError(f"available_tools is {_describe_json_type(tools)}, not a list")
    for number, tool_record in enumerate(tools):
        tool, where = _parse_text(tool_record), f"available_tools[{number}]."
        if isinstance(tool, dict) and "function" in tool:
            tool, where = _parse_text(tool["function"]), f"{where}function."
        yield _get_text(tool, "name", where), str(tool.get("description") or "")


def parse_final_answer(text: str) -> str:
    """Return the text of a final answer given as the arguments of the finishing call; empty if the path gave up."""
    if GIVE_UP_MARKER in text:
        return ""
    try:
        arguments = json.loads(text, strict=False)
    except ValueError:
        return text.strip()
    value = arguments.get("final_answer", text) if isinstance(arguments, dict) else text
    return "" if value is None else str(value).strip()


def _read_steps(details: Any) -> Iterator[TraceStep]:
    """Yield the tool calls and the model's messages of a tree of messages, parents first."""
    stack = [*reversed(_label_messages(details, "answer.answer_details"))]
    while stack:
        where, message = stack.pop()
        text = _get(message, "message", f"{where}.")
        role = _get(message, "role", f"{where}.")
        if role == "tool":
            yield from _read_call(text)
        elif role == "assistant" and text:
            yield TraceStep(str(text), "", "")
        stack += reversed(_label_messages(_parse_text(message.get("next")), f"{where}.next"))


def _label_messages(messages: Any, where: str) -> list[tuple[str, Any]]:
    """Return each message with its key within the record."""
    if messages is None or messages == "":
        return []
    items = messages if isinstance(messages, list) else [messages]
    return [(f"{where}[{number}]", _parse_text(message)) for number, message in enumerate(items)]


def _read_call(text: Any) -> Iterator[TraceStep]:
    """Yield the step of a tool call; nothing for the finishing call."""
    parsed = _parse_text(text)
    call = parsed if isinstance(parsed, dict) else {"name": "", "arguments": str(text), "response": ""}
    if call.get("name") != FINISH_FUNCTION:
        yield TraceStep("", f"{call.get('name')}({call.get('arguments')})", str(call.get("response") or ""))


def _parse_text(part: Any) -> Any:
    """Return a part of a record, parsed if it is the JSON text of an object or a list."""
    if isinstance(part, str) and part.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(part, strict=False)
        except (ValueError, RecursionError):
            return part
    return part


def _get(record: Any, key: str, where: str) -> Any:
    """Return the value of a key. `where` is the key of `record` itself, followed by a dot."""
    if not isinstance(record, Mapping):
        raise _MalformedError(f"{where.rstrip('.') or 'its record'} is {_describe_json_type(record)}, not an object")
    if key not in record:
        raise _MalformedError(f"the key {where}{key} is missing")
    return record[key]


def _get_text(record: Any, key: str, where: str) -> str:
    value = _get(record, key, where)
    if not isinstance(value, str):
        raise _MalformedError(f"{where}{key} is {_describe_json_type(value)}, not a text")
    return value


def _describe_json_type(value: Any) -> str:
    """Return JSON's name of a value's type."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
