"""`benchmark=tmdb`: RestBench-TMDB, 100 film queries with gold paths of endpoints.

The data set itself has no answers; `restbench_answers` has one for nearly every query, right on the embedded replica.
Its files are downloaded, never part of this package.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.benchmarks.gold_repairs import REPAIRS
from codetool.benchmarks.openapi import tools
from codetool.benchmarks.reference_answers import FILE, references
from codetool.errors import MissingError
from codetool.http.download import ensure_file, find_cache_folder
from codetool.runs.operational import Checksummed, Operational
from codetool.types import Task, Tool

log = logging.getLogger(__name__)

PREAMBLE = 'headers = {"accept": "application/json"}\n'
"""What the instruction promises; it carries no key, the broker adds them."""

OTHERWISE = (
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
"""Where the folder keeps each file, and the public file it is byte for byte."""
SHA256 = {
    "restbench/tmdb.json": "6a9686067683ec6c33221de05bd2e763cfbfedf2cac6f4e6b607d7ab80a858d4",
    "restbench/tmdb_oas.json": "6e5a3c4ebdf2e3deeada3331ad65c7b802b0aeb58c6167704db700be49b00017",
    "codetool/tmdb_candidates.json": "152a3e77f5e375170c30134b4221b1ed13bad7983acf336a76c501cdd3e75e50",
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDB:
    """Settings of RestBench-TMDB."""

    folder: Annotated[Path | None, Checksummed]
    """Folder of the downloaded data, normally what CODETOOL_DATA names; null: the user's cache."""
    mirror: Annotated[str, Operational]
    """Address that stands for raw.githubusercontent.com where a file has to be downloaded."""
    tools: Literal["candidates", "all"]
    """`candidates`: the 20 published for each query, one that is listed twice kept once; `all`: every operation."""
    gold: Literal["repaired", "original"]
    """`repaired`: mended as in `repairs.py`, the mended endpoints joining the candidates; `original`: as published."""
    max_observation_chars: PositiveInt
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """The 100 tasks `q0` … `q99`; what is not there is downloaded.

        Raises MissingError or UnreachableError if a file cannot be had, MissingError if one is broken.
        """
        queries, document, candidates = (self._read(name) for name in FILES)
        offered = {tool.name: tool for tool in tools(_mended(document))}
        return [self._task(i, query, candidates[i], offered) for i, query in enumerate(queries)]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Whether the final answer is right in some reading of the query; None where no operation answers it."""
        known = references().get(task.id)
        return known.accepts(answer, task.query) if known else None

    def checksum(self) -> str:
        """Hex sha256 over the three files and the answers. Downloads what is not there, as `tasks` does."""
        digest = sha256(FILE.read_bytes())
        for name in FILES:
            digest.update(sha256(self._path(name).read_bytes()).digest())
        return digest.hexdigest()

    def _task(self, i: int, row: Mapping[str, Any], candidate: Mapping[str, Any], offered: Mapping[str, Tool]) -> Task:
        gold = tuple(step.strip() for step in row["solution"])
        if self.gold == "repaired" and i in REPAIRS:
            gold = REPAIRS[i].gold
        names = dict.fromkeys(candidate["api_list"] if self.tools == "candidates" else offered)
        if self.gold == "repaired":
            names |= dict.fromkeys(tool.name for tool in offered.values() if tool.endpoint in gold)
        chosen = tuple(offered[name] for name in names)
        known = references()[f"q{i}"]
        return Task(
            id=f"q{i}",
            query=row["query"].strip(),
            tools=chosen,
            gold=gold,
            gold_calls=known.calls,
            answer=known.answer,
            preamble=PREAMBLE,
        )

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Any) -> Any:
        return folder or None

    def _read(self, name: str) -> Any:
        path = self._path(name)
        content = path.read_bytes()
        if sha256(content).hexdigest() != SHA256[name]:
            log.warning("benchmark=tmdb: %s is not the published file; it is used as it is", path)
        try:
            return json.loads(content)
        except ValueError as error:
            raise MissingError(f"benchmark=tmdb: {path} is broken ({error}). Its source: {FILES[name]}") from error

    def _path(self, name: str) -> Path:
        """The file in the data folder, or in the cache, or downloaded into the first of them that can be written."""
        if self.folder and not self.folder.is_dir():
            raise MissingError(f"CODETOOL_DATA={self.folder} is no folder. Make it, name another, or unset it.")
        own = [self.folder] if self.folder else []
        url = FILES[name].replace(RAW, self.mirror.rstrip("/"))
        return ensure_file(name, url, SHA256[name], [*own, find_cache_folder() / "data"], manual_steps=OTHERWISE)


def _mended(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the trending list under its name: as published the key is empty and its value no list."""
    operation = document["paths"]["/trending/{media_type}/{time_window}"]["get"]
    properties = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    if "" in properties:
        properties["results"] = {"type": "array", "items": properties.pop("")}
    return document
