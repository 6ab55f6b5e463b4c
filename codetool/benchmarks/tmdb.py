"""`benchmark=tmdb`: RestBench-TMDB, 100 film queries with gold paths of endpoints.

The data set has no checked answers: `check` knows none. Its files are downloaded, never part of this package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from codetool.benchmarks.openapi import tools
from codetool.benchmarks.repairs import REPAIRS
from codetool.errors import MissingError
from codetool.types import Task, Tool

PREAMBLE = 'headers = {"accept": "application/json"}\n'
"""What the instruction promises; it carries no key, the broker adds them."""

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


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TMDB:
    """Settings of RestBench-TMDB."""

    folder: Path | None
    """Folder of the downloaded data, normally what CODETOOL_DATA names."""
    tools: Literal["candidates", "all"]
    """`candidates`: the 20 published for each query, one that is listed twice kept once; `all`: every operation."""
    gold: Literal["repaired", "original"]
    """`repaired`: mended as in `repairs.py`, the mended endpoints joining the candidates; `original`: as published."""
    observation: int
    """Characters of an observation that the policy sees."""

    def tasks(self) -> Sequence[Task]:
        """The 100 tasks `q0` … `q99`. Raises MissingError if a file is not there or broken."""
        queries, document, candidates = (self._read(name) for name in FILES)
        offered = {tool.name: tool for tool in tools(_mended(document))}
        return [self._task(i, query, candidates[i], offered) for i, query in enumerate(queries)]

    def check(self, task: Task, answer: str | None) -> bool | None:
        """None: no task of this data set has a checked answer."""
        return None

    def checksum(self) -> str:
        """Hex sha256 over the three files. Raises MissingError if one is not there."""
        digest = sha256()
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
        return Task(id=f"q{i}", query=row["query"].strip(), tools=chosen, gold=gold, preamble=PREAMBLE)

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Any) -> Any:
        return folder or None

    def _read(self, name: str) -> Any:
        path = self._path(name)
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise MissingError(f"benchmark=tmdb: {path} is broken ({error}). Its source: {FILES[name]}") from error

    def _path(self, name: str) -> Path:
        if self.folder is not None and (self.folder / name).is_file():
            return self.folder / name
        where = f"{name} is not in {self.folder}" if self.folder else f"CODETOOL_DATA is not set, so {name} is nowhere"
        lines = "\n".join(f"  {file}  from  {url}" for file, url in FILES.items())
        raise MissingError(
            f"benchmark=tmdb: {where}.\nDownload these files into one folder and let CODETOOL_DATA name it:\n{lines}"
        )


def _mended(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the trending list under its name: as published the key is empty and its value no list."""
    operation = document["paths"]["/trending/{media_type}/{time_window}"]["get"]
    properties = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    if "" in properties:
        properties["results"] = {"type": "array", "items": properties.pop("")}
    return document
