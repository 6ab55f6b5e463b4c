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

GIVE_UP_MARKER = "give_up_and_restart"
"""What a path says that ends without an answer."""
FINISH_FUNCTION = "Finish"
"""The function whose call ends a path; what it says is the final answer, so it is no step of the trace."""
FORMAT_HINT = (
    "ToolBench's converted answers are a JSON object that gives each query id its query, available_tools and answer "
    "with final_answer."
)
UNCONVERTED_KEY = "answer_generation"
"""Key of the files that ToolBench's inference writes, before its conversion."""


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
    found = {file: load_converted_file(file) for file in files}
    owners: dict[str, Path] = {}
    for file, cases in found.items():
        for query_id in cases:
            if other := owners.get(query_id):
                raise ConfigError(f"{other} and {file} both hold query {query_id}: name one of the files.")
            owners[query_id] = file
    return found


def _load_json(file: Path) -> Any:
    if not file.exists():
        raise MissingError(f"There is no file {file}.")
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
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
    said = _get(answer, "final_answer", "answer.")
    if isinstance(said, dict):  # the arguments themselves instead of their JSON text
        return json.dumps(said)
    if said is not None and not isinstance(said, str):
        raise _MalformedError(f"answer.final_answer is {_describe_json_type(said)}, not a text")
    return said or ""


def _read_tools(tools: Any) -> Iterator[tuple[str, str]]:
    """Name and description of each tool that was offered."""
    if not isinstance(tools, list):
        raise _MalformedError(f"available_tools is {_describe_json_type(tools)}, not a list")
    for number, written in enumerate(tools):
        tool, where = _parse_text(written), f"available_tools[{number}]."
        if isinstance(tool, dict) and "function" in tool:
            tool, where = _parse_text(tool["function"]), f"{where}function."
        yield _get_text(tool, "name", where), str(tool.get("description") or "")


def parse_final_answer(said: str) -> str:
    """The words of a final answer that is written as the arguments of the call that finished; empty if it gave up."""
    if GIVE_UP_MARKER in said:
        return ""
    try:
        arguments = json.loads(said, strict=False)
    except ValueError:
        return said.strip()
    found = arguments.get("final_answer", said) if isinstance(arguments, dict) else said
    return "" if found is None else str(found).strip()


def _read_steps(details: Any) -> Iterator[TraceStep]:
    """The calls of tools and the words of the model in a tree of messages, parents first."""
    waiting = [*reversed(_label_messages(details, "answer.answer_details"))]
    while waiting:
        where, message = waiting.pop()
        said = _get(message, "message", f"{where}.")
        role = _get(message, "role", f"{where}.")
        if role == "tool":
            yield from _read_call(said)
        elif role == "assistant" and said:
            yield TraceStep(str(said), "", "")
        waiting += reversed(_label_messages(_parse_text(message.get("next")), f"{where}.next"))


def _label_messages(messages: Any, where: str) -> list[tuple[str, Any]]:
    """Each of some messages with the key under which it stands."""
    if messages is None or messages == "":
        return []
    listed = messages if isinstance(messages, list) else [messages]
    return [(f"{where}[{number}]", _parse_text(message)) for number, message in enumerate(listed)]


def _read_call(said: Any) -> Iterator[TraceStep]:
    """The step that a call of a tool is; none for the call that finished."""
    parsed = _parse_text(said)
    call = parsed if isinstance(parsed, dict) else {"name": "", "arguments": str(said), "response": ""}
    if call.get("name") != FINISH_FUNCTION:
        yield TraceStep("", f"{call.get('name')}({call.get('arguments')})", str(call.get("response") or ""))


def _parse_text(part: Any) -> Any:
    """A part of a record, parsed where it is the JSON text of an object or a list."""
    if isinstance(part, str) and part.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(part, strict=False)
        except (ValueError, RecursionError):
            return part
    return part


def _get(record: Any, key: str, where: str) -> Any:
    """The value of a key. `where` is the key of `record` itself with a dot behind it."""
    if not isinstance(record, Mapping):
        raise _MalformedError(f"{where.rstrip('.') or 'its record'} is {_describe_json_type(record)}, not an object")
    if key not in record:
        raise _MalformedError(f"the key {where}{key} is missing")
    return record[key]


def _get_text(record: Any, key: str, where: str) -> str:
    found = _get(record, key, where)
    if not isinstance(found, str):
        raise _MalformedError(f"{where}{key} is {_describe_json_type(found)}, not a text")
    return found


def _describe_json_type(value: Any) -> str:
    """What JSON calls the type of a value."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
