"""`benchmark=stabletoolbench`: 765 solvable queries over RapidAPI's services (StableToolBench, arXiv 2403.07714).

Six groups: G1 asks one tool, G2 several of a category, G3 several of a collection; `instruction`, `tool` and `category`
say what was unseen in ToolBench's training. There are no checked answers: a judge scores them. The paper of CodeTool
measures 580 of the queries, six of them edited; `data/stabletoolbench.json` says which.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError, MissingError
from codetool.http.download import ensure_file, find_cache_folder
from codetool.runs.operational import Checksummed, Operational
from codetool.tool_calls.toolbench_api import tool
from codetool.types import Task

log = logging.getLogger(__name__)

Group = Literal[
    "G1_instruction", "G1_category", "G1_tool", "G2_category", "G2_instruction", "G3_instruction", "all"
]  # fmt: skip
PREAMBLE = 'headers = {"accept": "application/json"}\n'
"""What the instruction promises; it carries no key, the broker adds them."""

RAW = "https://raw.githubusercontent.com"
SOURCE = f"{RAW}/THUNLP-MT/StableToolBench/aa4ed9f4737ad98bd706663f01d63623c3427812/solvable_queries/test_instruction"
SHA256 = {
    "G1_instruction": "500aa0105ed451538448f6ea04f10661536b013f3e1a293840fe401688160e7c",
    "G1_category": "123cb9073c8b6e6473df91c8a51170277087e1c263eba2eb6077170edbe849c3",
    "G1_tool": "05d0c180bbec9d060fd267cc79399bda05beddd0a6d0de68b5488926a9029a1a",
    "G2_category": "71e18112f7940934f159d623b1c2b4740b1b4dc58a0b596c63b8151abbf8267e",
    "G2_instruction": "82d569cd0fc8fc742a15a3011fb5cd6a8b11e0a5b344c884602347439f43cad7",
    "G3_instruction": "f923d1a9452646bd1a415b266117d90675d0f8fc04cf014db58d3cd78c25634f",
}
"""The groups in the order of their papers' tables, and their files."""
FACTS = Path(__file__).parent / "data" / "stabletoolbench.json"
OTHERWISE = (
    "benchmark=stabletoolbench needs it: put it there by hand, name a mirror with benchmark.mirror=URL, or let "
    "CODETOOL_DATA name a folder that has it."
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StableToolBench:
    """Settings of StableToolBench."""

    group: Group
    """One of its six groups, or all of them, one after the other."""
    subset: Literal["solvable", "paper", "left_out"]
    """`solvable`: all 765 queries. `paper`: the 580 that CodeTool's paper measures, six with its edits. `left_out`: the
    other 185, for process data."""
    queries: Annotated[Path | None, Checksummed]
    """A file of queries in ToolBench's format that stands for the groups; null: the groups. An entry may have a
    `group` of its own."""
    folder: Annotated[Path | None, Checksummed]
    """Folder of the downloaded data, normally what CODETOOL_DATA names; null: the user's cache."""
    mirror: Annotated[str, Operational]
    """Address that stands for raw.githubusercontent.com where a file has to be downloaded."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """The tasks, known by their query's id, in the order of the files; what is not there is downloaded.

        Raises MissingError or UnreachableError if a file cannot be had, MissingError if it holds something else.
        """
        if self.queries is not None:
            return _tasks(_read(self.queries), self.queries, None, {})
        left_out, edits = _facts()
        found: list[Task] = []
        for group in self._groups():
            file = self._file(group)
            if sha256(_bytes(file)).hexdigest() != SHA256[group]:
                log.warning("benchmark=stabletoolbench: %s is not the published file; it is used as it is", file)
            entries = [each for each in _read(file) if self._wanted(each, left_out[group])]
            found += _tasks(entries, file, group, edits if self.subset == "paper" else {})
        return found

    def check(self, task: Task, answer: str | None) -> None:
        """None: no query has a checked answer."""

    def checksum(self) -> str:
        """Hex sha256 over the files of queries, and where it matters over what the paper leaves out and edits."""
        files = [self.queries] if self.queries else [*map(self._file, self._groups())]
        files += [FACTS] if self.queries is None and self.subset != "solvable" else []
        digest = sha256()
        for file in files:
            digest.update(sha256(_bytes(file)).digest())
        return digest.hexdigest()

    @model_validator(mode="after")
    def _queries_or_groups(self) -> Self:
        if self.queries is not None and self.group != "all":
            raise ValueError(f"benchmark.group={self.group}: benchmark.queries={self.queries} stands for all groups")
        return self

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Any) -> Any:
        return folder or None

    def _groups(self) -> list[str]:
        return list(SHA256) if self.group == "all" else [self.group]

    def _wanted(self, entry: Mapping[str, Any], left_out: frozenset[str]) -> bool:
        return self.subset == "solvable" or (str(entry.get("query_id")) in left_out) == (self.subset == "left_out")

    def _file(self, group: str) -> Path:
        """The group's file in the data folder, or in the cache, or downloaded."""
        if self.folder and not self.folder.is_dir():
            raise MissingError(f"CODETOOL_DATA={self.folder} is no folder. Make it, name another, or unset it.")
        own = [self.folder] if self.folder else []
        url = f"{SOURCE}/{group}.json".replace(RAW, self.mirror.rstrip("/"))
        name = f"stabletoolbench/solvable_queries/{group}.json"
        return ensure_file(name, url, SHA256[group], [*own, find_cache_folder() / "data"], manual_steps=OTHERWISE)


def _read(file: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(_bytes(file))
    except ValueError as error:
        raise MissingError(f"{file} is broken ({error}); a file of ToolBench's queries is a JSON list") from error
    if not isinstance(content, list):
        raise MissingError(f"{file} holds no list of queries, as ToolBench's files of queries do")
    return content


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise MissingError(f"benchmark.queries={file} cannot be read ({error.strerror}): name another file") from error


def _tasks(
    entries: Sequence[Mapping[str, Any]],
    file: Path,
    group: str | None,
    edits: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[Task]:
    made: dict[str, Task] = {}
    for place, entry in enumerate(entries):
        name = str(entry.get("query_id", place)) if isinstance(entry, Mapping) else str(place)
        try:
            documents = [_edited(each, edits.get(name, {})) for each in entry["api_list"]]
            tools = {each.path: each for each in map(tool, documents)}
            query = entry["query"].strip()
            own = entry.get("group")
            if own is not None and not isinstance(own, str):
                raise TypeError(f"a group that is a text; it has {own!r}")
        except (KeyError, TypeError, AttributeError) as error:
            raise MissingError(f"{file}, query {place + 1} is none of ToolBench's: it lacks {error}") from error
        if name in made:
            raise ConfigError(f"{file} has the query_id {name} twice")
        made[name] = Task(name, query, tuple(tools.values()), preamble=PREAMBLE, group=group or own)
    return list(made.values())


def _edited(document: Mapping[str, Any], edits: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """An API of a query with the paper's edits of its parameters."""
    edit = edits.get(document["api_name"])
    if edit is None:
        return document
    required, optional = (
        [dict(each) for each in document[name] if each["name"] not in edit.get("removed", ())]
        for name in ("required_parameters", "optional_parameters")
    )
    required += [each for each in optional if each["name"] in edit.get("required", ())]
    optional = [each for each in optional if each["name"] not in edit.get("required", ())]
    for each in required:
        each["default"] = edit.get("defaults", {}).get(each["name"], each["default"])
    return {**document, "required_parameters": required, "optional_parameters": optional}


@lru_cache(maxsize=1)
def _facts() -> tuple[Mapping[str, frozenset[str]], Mapping[str, Any]]:
    """The ids that the paper leaves out, by group, and its edits of parameters, by id and API."""
    content = json.loads(FACTS.read_bytes())
    return {group: frozenset(map(str, ids)) for group, ids in content["left_out"].items()}, content["edits"]
