"""AgentProcessBench (arXiv 2603.14465): trajectories of tool-calling agents whose steps people have labelled.

A step is a message of the agent, with its tool calls: 1 right, 0 neutral, -1 wrong. There are four parts of 250
trajectories, five for each of 50 questions. They are downloaded and not part of this package. No step has siblings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as record
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, field_validator
from pydantic.dataclasses import dataclass

from codetool.http.download import compute_sha256, ensure_file, list_data_folders
from codetool.process_data import jsonl_reader
from codetool.types import Execution, Node, Parameter, Step, Task, Tool

Part = Literal["hotpotqa", "gaia_dev", "bfcl", "tau2"]
Label = Literal[-1, 0, 1]

RAW = "https://raw.githubusercontent.com"
SOURCE = f"{RAW}/RUCBM/AgentProcessBench/0a42606b178a8c69d40c5765dc05c342f921e578/data/AgentProcessBench"
SHA256: Mapping[str, str] = {"hotpotqa": "160eef2ded872d8dc6ddf4cee5752295fda691b6a9e99b5bafc2d484e6309c57"}
"""Hex sha256 of the files by part. Those of the other parts are not known: the commit in their address fixes them."""
MANUAL_STEPS = (
    "evaluate_prm.data=agentprocessbench needs it: put it there by hand, name a mirror with "
    "evaluate_prm.agentprocessbench.mirror=URL, or let CODETOOL_DATA name a folder that has it."
)

log = logging.getLogger(__name__)


@record(frozen=True)
class Trajectory:
    """One trajectory of an agent."""

    task: Task
    """The question with all that the agent read before its first step, and its tools. `template` is the question."""
    nodes: Sequence[Node]
    """The agent's messages, each with what came back as the observation of its execution."""
    labels: Sequence[Label | None]
    """Label of each of them; None for a message that nobody has labelled."""
    success: bool
    """Whether people found the final answer right."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AgentProcessBench:
    """Settings of AgentProcessBench."""

    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    """Parts to read, in this order."""
    folder: Path | None
    """Folder of the downloaded data, by default CODETOOL_DATA; null: the user's cache."""
    mirror: str
    """URL used in place of https://raw.githubusercontent.com for downloads."""

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Any) -> Any:
        return folder or None

    @field_validator("parts")
    @classmethod
    def _each_part_once(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if len(set(parts)) < len(parts):
            raise ValueError("each part can be named once")
        return parts

    def load(self) -> list[Trajectory]:
        """Return the trajectories of all parts, in the order of the files. Missing files are downloaded.

        Raises MissingError or UnreachableError if a file cannot be downloaded, ConfigError for an invalid line.
        """
        return [trajectory for part in self.parts for trajectory in load_trajectories(part, self.find_file(part))]

    def checksums(self) -> dict[str, str]:
        """Return the hex sha256 of each part's file by its name. Missing files are downloaded."""
        return {f"agentprocessbench {part}": compute_sha256(self.find_file(part)) for part in self.parts}

    def find_file(self, part: Part) -> Path:
        """Return the path of a part's file in the data folder or the cache. A missing file is downloaded."""
        folders = list_data_folders(self.folder, "evaluate_prm.agentprocessbench.folder")
        url = f"{SOURCE}/{part}.jsonl".replace(RAW, self.mirror.rstrip("/"))
        name = f"agentprocessbench/{part}.jsonl"
        file = ensure_file(name, url, SHA256.get(part), folders, manual_steps=MANUAL_STEPS)
        if part in SHA256 and compute_sha256(file) != SHA256[part]:
            log.warning("evaluate_prm.agentprocessbench: %s is not the published file; it is used as it is", file)
        return file


@record(frozen=True)
class _Message:
    role: str
    content: str | list[Any] | None = None
    tool_calls: list[dict[str, Any]] | None = None


def _check_steps(messages: list[_Message]) -> list[_Message]:
    if not any(message.role == "assistant" for message in messages):
        raise ValueError("none of them has the role assistant, so there is no step to score")
    return messages


@record(frozen=True)
class _Record:
    query_index: int
    sample_index: int
    messages: Annotated[list[_Message], AfterValidator(_check_steps)]
    step_labels: dict[int, Label]
    final_label: Label
    tools: list[dict[str, Any]] | None = None


_RECORD: TypeAdapter[_Record] = TypeAdapter(_Record)


def load_trajectories(part: str, file: Path) -> list[Trajectory]:
    """Return the trajectories of a part's file. Raises ConfigError, which names the line, for an invalid one."""
    return [_make_trajectory(part, row) for row in jsonl_reader.read_records([file], file.name, _RECORD)]


def _make_trajectory(part: str, row: _Record) -> Trajectory:
    ends = [index for index, message in enumerate(row.messages) if message.role == "assistant"]
    question = f"{part}-{row.query_index}"
    task = Task(
        id=f"{question}-{row.sample_index}",
        query="\n\n".join(filter(None, map(_get_text, row.messages[: ends[0]]))),
        tools=tuple(_list_tools(row.tools or [])),
        template=question,
    )
    nodes: list[Node] = []
    labels: list[Label | None] = []
    for index, end in zip(ends, [*ends[1:], len(row.messages)], strict=True):
        step = Step(_format_step(row.messages[index]), None, index == ends[-1])
        execution = Execution("ok", "\n".join(map(_get_text, row.messages[index + 1 : end])))
        depth = len(nodes) + 1
        parent = nodes[-1] if nodes else Node("0")
        nodes.append(Node("-".join(["1"] * depth), parent, depth, step, execution))
        labels.append(row.step_labels.get(index))
    return Trajectory(task, nodes, labels, row.final_label == 1)


def _get_text(message: _Message) -> str:
    if isinstance(message.content, list):
        return "\n".join(str(part.get("text", "")) for part in message.content if isinstance(part, dict))
    return message.content or ""


def _format_step(message: _Message) -> str:
    """Return the agent's words and below them its calls, `name(arguments as JSON)`."""
    calls = [call.get("function", call) for call in message.tool_calls or []]
    lines = [f"{call.get('name')}({call.get('arguments')})" for call in calls if isinstance(call, dict)]
    return "\n".join([*filter(None, [_get_text(message).strip()]), *lines])


def _list_tools(tools: Sequence[Mapping[str, Any]]) -> Iterator[Tool]:
    """Yield the functions of a list of OpenAI's form as tools; they have a name and no address."""
    for tool in tools:
        function = tool.get("function", tool)
        schema = function.get("parameters") or {}
        required = schema.get("required") or ()
        yield Tool(
            name=str(function.get("name")),
            method="",
            server="",
            path="",
            summary=str(function.get("description") or ""),
            parameters=tuple(
                Parameter(name, "body", str(detail.get("type", "")), name in required, detail.get("description") or "")
                for name, detail in (schema.get("properties") or {}).items()
            ),
        )
