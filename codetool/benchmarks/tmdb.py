"""`benchmark=tmdb`: RestBench-TMDB, 100 film queries with gold paths of endpoints.

The data set has no answers; `reference_answers` has one for nearly every query, computed on the embedded replica. The
files of the data set are downloaded and not part of this package.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.benchmarks.gold_repairs import GOLD_REPAIRS
from codetool.benchmarks.openapi import parse_tools
from codetool.benchmarks.reference_answers import ANSWERS_FILE, load_references
from codetool.errors import MissingError
from codetool.http.download import ensure_file, list_data_folders
from codetool.runs.bounded_input import parse_json, read_bytes
from codetool.runs.operational import Checksummed, Operational
from codetool.types import Task, Tool

log = logging.getLogger(__name__)

PREAMBLE = 'headers = {"accept": "application/json"}\n'
"""Code that the instruction promises. It contains no key, since the broker adds keys."""

MANUAL_STEPS = (
    "benchmark=tmdb needs it: put it there by hand, name a mirror with benchmark.mirror=URL, or let CODETOOL_DATA name "
    "a folder that has it."
)
RAW = "https://raw.githubusercontent.com"
RESTGPT = f"{RAW}/Yifan-Song793/RestGPT/d99012860cb45323975bf5780152d7aa44f390f5"
FILES = {
    "restbench/tmdb.json": f"{RESTGPT}/datasets/tmdb.json",
    "restbench/tmdb_oas.json": f"{RESTGPT}/specs/tmdb_oas.json",
    "codetool/tmdb_candidates.json": (
        f"{RAW}/LimOkii/CodeTool/e6b029aff397c96da5d5d1dfdbbc1345e4def2cb/infer/tmdb/tmdb.data.candidate%3D20.v2.json"
    ),
}
"""Path of each file below the data folder, with the URL of the identical public file."""
SHA256 = {
    "restbench/tmdb.json": "6a9686067683ec6c33221de05bd2e763cfbfedf2cac6f4e6b607d7ab80a858d4",
    "restbench/tmdb_oas.json": "6e5a3c4ebdf2e3deeada3331ad65c7b802b0aeb58c6167704db700be49b00017",
    "codetool/tmdb_candidates.json": "152a3e77f5e375170c30134b4221b1ed13bad7983acf336a76c501cdd3e75e50",
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RestBenchTMDB:
    """Settings of RestBench-TMDB."""

    folder: Annotated[Path | None, Checksummed]
    """Folder of the downloaded data, by default CODETOOL_DATA; null: the user's cache."""
    mirror: Annotated[str, Operational]
    """URL used in place of https://raw.githubusercontent.com for downloads."""
    tools: Literal["candidates", "all"]
    """`candidates`: the 20 published for each query, without duplicates; `all`: every operation."""
    gold: Literal["repaired", "original"]
    """`repaired`: corrected by `gold_repairs`, whose endpoints join the candidates; `original`: as published."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """Return the 100 tasks `q0` … `q99`. Missing files are downloaded.

        Raises MissingError or UnreachableError if a file cannot be downloaded, MissingError if one is malformed.
        """
        queries, document, candidates = (self._load_json(name) for name in FILES)
        offered = {tool.name: tool for tool in parse_tools(_repair_document(document))}
        return [self._make_task(i, query, candidates[i], offered) for i, query in enumerate(queries)]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the final answer equals one of the right ones; None if no operation can answer the query."""
        reference = load_references().get(task.id)
        return reference.accepts(answer, task.query) if reference else None

    def checksum(self) -> str:
        """Return the hex sha256 over the three files and the answers. Missing files are downloaded."""
        digest = sha256(ANSWERS_FILE.read_bytes())
        for name in FILES:
            digest.update(sha256(self._find_file(name).read_bytes()).digest())
        return digest.hexdigest()

    def _make_task(
        self, index: int, row: Mapping[str, Any], candidate: Mapping[str, Any], offered: Mapping[str, Tool]
    ) -> Task:
        gold = tuple(step.strip() for step in row["solution"])
        if self.gold == "repaired" and index in GOLD_REPAIRS:
            gold = GOLD_REPAIRS[index].gold
        names = dict.fromkeys(candidate["api_list"] if self.tools == "candidates" else offered)
        if self.gold == "repaired":
            names |= dict.fromkeys(tool.name for tool in offered.values() if tool.endpoint in gold)
        tools = tuple(offered[name] for name in names)
        reference = load_references()[f"q{index}"]
        return Task(
            id=f"q{index}",
            query=row["query"].strip(),
            tools=tools,
            gold=gold,
            gold_calls=reference.calls,
            answer=reference.answer,
            preamble=PREAMBLE,
        )

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Any) -> Any:
        return folder or None

    def _load_json(self, name: str) -> Any:
        path = self._find_file(name)
        content = read_bytes(path)
        if sha256(content).hexdigest() != SHA256[name]:
            log.warning("benchmark=tmdb: %s is not the published file; it is used as it is", path)
        try:
            return parse_json(content)
        except ValueError as error:
            raise MissingError(f"benchmark=tmdb: {path} is broken ({error}). Its source: {FILES[name]}") from error

    def _find_file(self, name: str) -> Path:
        """Return the path of a file in the data folder or the cache. A missing file is downloaded."""
        folders = list_data_folders(self.folder, "benchmark.folder")
        url = FILES[name].replace(RAW, self.mirror.rstrip("/"))
        return ensure_file(name, url, SHA256[name], folders, manual_steps=MANUAL_STEPS)


def _repair_document(document: dict[str, Any]) -> dict[str, Any]:
    """Name the list of trending results in the document: as published its key is empty and its value is no list."""
    operation = document["paths"]["/trending/{media_type}/{time_window}"]["get"]
    properties = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    if "" in properties:
        properties["results"] = {"type": "array", "items": properties.pop("")}
    return document
