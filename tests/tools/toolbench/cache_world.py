"""Published layouts for tests: a small one made here, and the one among the downloaded data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_folder import data_folder

from codetool.tool_calls.toolbench_api import SERVER, Api
from codetool.tools.toolbench.recorded_answers import PublishedAnswers
from codetool.types import HttpRequest, Parameter, Tool, ToolCall

API = Api("Data", "clique", "artist")
TOOL = Tool(
    name=API.function,
    method="GET",
    server=SERVER,
    path=API.path,
    summary="Artist info",
    parameters=(
        Parameter("artist_id", "query", type="number", required=True),
        Parameter("tour", "query", type="boolean"),
        Parameter("is_from", "query"),
    ),
    response={"name": "string"},
)


def recorded_answers() -> Iterator[tuple[Any, Any]]:
    """Error and response of every published answer among the downloaded data."""
    for file in sorted((data_folder("stabletoolbench") / "tool_response_cache").glob("*/*/*.json")):
        for entry in json.loads(file.read_text()).values():
            yield entry["error"], entry["response"]


def write(folder: Path, api: Api, answers: Mapping[str, Any]) -> Path:
    """A file of the cache; `answers` are replies by `str(arguments)`."""
    file = folder / "tool_response_cache" / api.category / f"{api.tool}_for_{api.category}" / f"{api.name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(answers))
    return file


def said(response: Any, error: str = "") -> dict[str, Any]:
    return {"error": error, "response": response}


def published(folder: Path, memory: int = 64) -> PublishedAnswers:
    return PublishedAnswers(folder=folder, memory_mib=memory)


def call(*, tool: Tool | None = TOOL, api: Api = API, **arguments: Any) -> ToolCall:
    """A call as the broker routes it."""
    url = SERVER + api.path
    return ToolCall("GET", url, arguments, tool, HttpRequest("GET", url))
