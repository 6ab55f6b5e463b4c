"""Tool source of StableToolBench's published answers (`cache=toolbench`), and its server over HTTP.

A call is looked up by its exact arguments first, then by the same arguments in another order, spelling or type. The end
of a run reports the counts of both and of calls that are not recorded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, PositiveInt, field_validator
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette

from codetool.credentials.api_keys import read_key
from codetool.errors import MissingError
from codetool.runs.operational import Checksummed, Operational
from codetool.tool_calls.toolbench_api import Api, parse_data
from codetool.tools.sources import CountingSessionFactory
from codetool.tools.toolbench.cache import CachedAnswer, ResponseCache
from codetool.tools.toolbench.tool_docs import ToolDocuments
from codetool.tools.toolbench.toolbench_server import create_app
from codetool.types import JSON, ToolAnswer, ToolCall

MEBIBYTE = 1 << 20
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
RESPONSES_FOLDER = "tool_response_cache"
DOWNLOAD_HELP = (
    "StableToolBench's cache is the Hugging Face dataset stabletoolbench/Cache: unpack it so that the folder holds "
    "tool_response_cache/ and tools/, and let CODETOOL_DATA name the folder above stabletoolbench/, or name it with "
    "tools.recorded_answers.folder=FOLDER. Without it: tools.recorded_answers=null and tools.mode=simulated or live."
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PublishedAnswers:
    """The published answers: settings (`tools.recorded_answers.*`) and source."""

    KEY: ClassVar = "TOOLBENCH_KEY"
    ENTRY: ClassVar = "{url}/virtual takes POST requests, {url}/health counts them"

    folder: Annotated[Path | None, Checksummed]
    """Folder that holds `tool_response_cache` and `tools`, as StableToolBench publishes them, directly or in its
    subfolder `stabletoolbench`; null: none."""
    memory_mib: Annotated[PositiveInt, Operational]
    """MiB of files to keep in memory."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer; None if it is not recorded or the call is not ToolBench's."""
        return await self.open_counted().answer(call)

    def open_counted(self) -> CountedAnswers:
        """A source of the same answers that counts how they are found, from zero."""
        return CountedAnswers(self)

    async def find(self, call: ToolCall, api: Api) -> CachedAnswer | None:
        """The recorded answer to a call of this API, None if there is none."""
        if self._cache.takes_long(api):
            return await asyncio.to_thread(self._cache.find, api, call.arguments, cast_arguments(call))
        return self._cache.find(api, call.arguments, cast_arguments(call))

    def examples(self, call: ToolCall, max_examples: int) -> Sequence[tuple[Mapping[str, JSON], JSON]]:
        """Arguments and data of up to `max_examples` other recorded calls of the same API that succeeded."""
        api = Api.from_url(call.url)
        calls = self._cache.examples(api, max_examples) if api else ()
        return tuple((recorded.arguments, recorded.reply.data) for recorded in calls)

    def checksum(self) -> str:
        """Hex sha256 over the names and sizes of the recorded files; part of a result's identity.

        The contents (165,000 answers) are not read. Raises MissingError if the folder does not exist.
        """
        digest = hashlib.sha256()
        for name, size in sorted(_list_sizes(self._folder / RESPONSES_FOLDER)):
            digest.update(f"{name} {size}\n".encode())
        return digest.hexdigest()

    def site(self, *, require_key: bool, environment: Mapping[str, str], broker: CountingSessionFactory) -> Starlette:
        """StableToolBench's server. A required key must equal TOOLBENCH_KEY, or may be any text if that is unset."""
        key = read_key(self.KEY, environment, allow_spaces=True) or ""
        return create_app(broker, self._documents, broker.source_counts, key=key, require_key=require_key)

    @field_validator("folder", mode="before")
    @classmethod
    def _empty_is_unset(cls, folder: Path | str | None) -> Path | str | None:
        return folder or None

    @cached_property
    def _folder(self) -> Path:
        for folder in [self.folder / "stabletoolbench", self.folder] if self.folder else []:
            if (folder / RESPONSES_FOLDER).is_dir():
                return folder
        raise MissingError(
            f"tools.recorded_answers.folder={self.folder or 'null'} holds no {RESPONSES_FOLDER}. {DOWNLOAD_HELP}"
        )

    @cached_property
    def _cache(self) -> ResponseCache:
        return ResponseCache(self._folder / RESPONSES_FOLDER, self.memory_mib * MEBIBYTE)

    @cached_property
    def _documents(self) -> ToolDocuments:
        return ToolDocuments(self._folder / "tools")


class CountedAnswers:
    """The published answers as a source of one run, with counts."""

    def __init__(self, settings: PublishedAnswers) -> None:
        """Takes the settings; all counts are zero."""
        self._settings = settings
        self.counts: Counter[str] = Counter()
        """Number of calls by how they were found: `exact`, `canonical`, `not recorded`."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The recorded answer; None if it is not recorded or the call is not ToolBench's."""
        api = Api.from_url(call.url)
        if api is None:
            return None
        cached = await self._settings.find(call, api)
        self.counts["not recorded" if cached is None else "exact" if cached.exact else "canonical"] += 1
        return ToolAnswer(call, cached.reply.status, cached.reply.body, "recorded") if cached else None

    def checksum(self) -> str | None:
        """The checksum of the published answers."""
        return self._settings.checksum()


def cast_arguments(call: ToolCall) -> dict[str, JSON]:
    """The arguments cast from the strings of a URL to their declared JSON types."""
    types = {parameter.name: parameter.type for parameter in call.tool.parameters} if call.tool else {}
    return {name: _cast_value(value, types.get(name, "string")) for name, value in call.arguments.items()}


def _cast_value(value: JSON, kind: str) -> JSON:
    if not isinstance(value, str) or kind not in ("number", "boolean", "array", "object"):
        return value
    if kind == "boolean":
        return {"true": True, "false": False}.get(value.lower(), value)
    if kind == "number":
        return json.loads(value) if _NUMBER.fullmatch(value) else value
    return parse_data(value, repair=False)


def _list_sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """Relative path and size in bytes of every JSON file below a folder."""
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append(entry.path)
                elif entry.name.endswith(".json"):
                    yield os.path.relpath(entry.path, folder), entry.stat().st_size
