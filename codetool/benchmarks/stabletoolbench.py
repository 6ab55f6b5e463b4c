"""`benchmark=stabletoolbench`: 765 solvable queries over RapidAPI's services (StableToolBench, arXiv 2403.07714).

The queries form six groups. G1 needs one tool, G2 several of a category, G3 several of a collection; `instruction`,
`tool` and `category` name what ToolBench's training did not contain. There are no checked answers, so an LLM judge
decides. CodeTool's paper measures 580 of the queries, six of them edited; `data/stabletoolbench.json` lists them.
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
from codetool.http.download import ensure_file, list_data_folders
from codetool.runs.bounded_input import parse_json, read_bytes
from codetool.runs.operational import Checksummed, Operational
from codetool.tool_calls.toolbench_api import parse_tool
from codetool.types import Task

log = logging.getLogger(__name__)

Group = Literal[
    "G1_instruction", "G1_category", "G1_tool", "G2_category", "G2_instruction", "G3_instruction", "all"
]  # fmt: skip
PREAMBLE = 'headers = {"accept": "application/json"}\n'
"""Code that the instruction promises. It contains no key, since the broker adds keys."""

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
"""Each group with the sha256 of its file, in the order of the papers' tables."""
PAPER_SUBSET_FILE = Path(__file__).parent / "data" / "stabletoolbench.json"
MANUAL_STEPS = (
    "benchmark=stabletoolbench needs it: put it there by hand, name a mirror with benchmark.mirror=URL, or let "
    "CODETOOL_DATA name a folder that has it."
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StableToolBench:
    """Settings of StableToolBench."""

    group: Group
    """One of the six groups, or `all` in their order."""
    subset: Literal["solvable", "paper", "left_out"]
    """`solvable`: all 765 queries. `paper`: the 580 that CodeTool's paper measures, six with its edits. `left_out`: the
    other 185, for process data."""
    queries: Annotated[Path | None, Checksummed]
    """A file of queries in ToolBench's format that replaces the groups; null: the groups. An entry may name its own
    `group`."""
    folder: Annotated[Path | None, Checksummed]
    """Folder of the downloaded data, by default CODETOOL_DATA; null: the user's cache."""
    mirror: Annotated[str, Operational]
    """URL used in place of https://raw.githubusercontent.com for downloads."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """Return the tasks in the order of the files, each with its query's id. Missing files are downloaded.

        Raises MissingError or UnreachableError if a file cannot be downloaded, MissingError if its content is wrong.
        """
        if self.queries is not None:
            return _parse_tasks(_load_queries(self.queries), self.queries, None, {})
        left_out, edits = _load_paper_subset()
        tasks: list[Task] = []
        for group in self._groups():
            file = self._find_file(group)
            if sha256(_read_bytes(file)).hexdigest() != SHA256[group]:
                log.warning("benchmark=stabletoolbench: %s is not the published file; it is used as it is", file)
            entries = [item for item in _load_queries(file) if self._is_selected(item, left_out[group])]
            tasks += _parse_tasks(entries, file, group, edits if self.subset == "paper" else {})
        return tasks

    def check(self, task: Task, answer: str | None) -> None:
        """Return None, since no query has a checked answer."""

    def checksum(self) -> str:
        """Return the hex sha256 over the query files and, for the paper's subsets, the list of exclusions and edits."""
        files = [self.queries] if self.queries else [*map(self._find_file, self._groups())]
        files += [PAPER_SUBSET_FILE] if self.queries is None and self.subset != "solvable" else []
        digest = sha256()
        for file in files:
            digest.update(sha256(_read_bytes(file)).digest())
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

    def _is_selected(self, entry: Mapping[str, Any], left_out: frozenset[str]) -> bool:
        return self.subset == "solvable" or (str(entry.get("query_id")) in left_out) == (self.subset == "left_out")

    def _find_file(self, group: str) -> Path:
        """Return the path of the group's file in the data folder or the cache; a missing file is downloaded."""
        folders = list_data_folders(self.folder, "benchmark.folder")
        url = f"{SOURCE}/{group}.json".replace(RAW, self.mirror.rstrip("/"))
        name = f"stabletoolbench/solvable_queries/{group}.json"
        return ensure_file(name, url, SHA256[group], folders, manual_steps=MANUAL_STEPS)


def _load_queries(file: Path) -> list[Mapping[str, Any]]:
    try:
        content = parse_json(_read_bytes(file))
    except ValueError as error:
        raise MissingError(f"{file} is broken ({error}); a file of ToolBench's queries is a JSON list") from error
    if not isinstance(content, list):
        raise MissingError(f"{file} holds no list of queries, as ToolBench's files of queries do")
    return content


def _read_bytes(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        raise MissingError(f"benchmark.queries={file} cannot be read ({error.strerror}): name another file") from error


def _parse_tasks(
    entries: Sequence[Mapping[str, Any]],
    file: Path,
    group: str | None,
    edits: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> list[Task]:
    tasks: dict[str, Task] = {}
    for index, entry in enumerate(entries):
        name = str(entry.get("query_id", index)) if isinstance(entry, Mapping) else str(index)
        try:
            documents = [_apply_edits(item, edits.get(name, {})) for item in entry["api_list"]]
            tools = {item.path: item for item in map(parse_tool, documents)}
            query = entry["query"].strip()
            entry_group = entry.get("group")
            if entry_group is not None and not isinstance(entry_group, str):
                raise TypeError(f"a group that is a text; it has {entry_group!r}")
        except (KeyError, TypeError, AttributeError) as error:
            raise MissingError(f"{file}, query {index + 1} is none of ToolBench's: it lacks {error}") from error
        if name in tasks:
            raise ConfigError(f"{file} has the query_id {name} twice")
        tasks[name] = Task(name, query, tuple(tools.values()), preamble=PREAMBLE, group=group or entry_group)
    return list(tasks.values())


def _apply_edits(document: Mapping[str, Any], edits: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Apply the paper's edits to the parameters of a query's API."""
    edit = edits.get(document["api_name"])
    if edit is None:
        return document
    required, optional = (
        [dict(item) for item in document[name] if item["name"] not in edit.get("removed", ())]
        for name in ("required_parameters", "optional_parameters")
    )
    required += [item for item in optional if item["name"] in edit.get("required", ())]
    optional = [item for item in optional if item["name"] not in edit.get("required", ())]
    for item in required:
        item["default"] = edit.get("defaults", {}).get(item["name"], item["default"])
    return {**document, "required_parameters": required, "optional_parameters": optional}


@lru_cache(maxsize=1)
def _load_paper_subset() -> tuple[Mapping[str, frozenset[str]], Mapping[str, Any]]:
    """Return the query ids that the paper leaves out, by group, and its edits of parameters, by query id and API."""
    content = json.loads(PAPER_SUBSET_FILE.read_bytes())
    return {group: frozenset(map(str, ids)) for group, ids in content["left_out"].items()}, content["edits"]
