"""Reader of StableToolBench's published response cache, `<Category>/<tool>_for_<Category>/<api>.json`.

A file is an object of `str(arguments)` → `{"error", "response"}`. Files are read when their API is first called; the
most recently used ones stay in memory up to a number of bytes, and a changed file is read again. Nothing is written.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from codetool.prompts.python_syntax import parse_python_literal
from codetool.runs.bounded_input import parse_json, read_bytes
from codetool.tool_calls.toolbench_api import Api, argument_name, parse_data
from codetool.tools.toolbench.reply_parser import SIMULATOR_FAILURE, Reply, parse_reply
from codetool.types import JSON

log = logging.getLogger(__name__)

KEY_ARGUMENTS = frozenset({"toolbench_key", "rapidapi_key", "api_key"})
"""Arguments that identify the caller; they are no part of the request's meaning."""
LARGE_FILE_BYTES = 1 << 20
"""Size in bytes from which a file is read in a thread: reading it takes about ten milliseconds."""
_PLAIN = re.compile(r"[\w^-]+")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A recorded call of an API."""

    arguments: Mapping[str, JSON]
    reply: Reply


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """The recorded reply to a call."""

    reply: Reply
    exact: bool
    """Whether the recorded arguments are identical; otherwise they differ in order, spelling or types."""


@dataclass(slots=True)
class _ApiFile:
    """One API's file in memory. Entries stay encoded until they are looked up, which takes a fifth of the memory."""

    version: tuple[int, int]
    """Modification time in nanoseconds, and size in bytes."""
    exact: dict[str, bytes] = field(default_factory=dict)
    """Reply as JSON bytes, by `str(arguments)`."""
    canonical: dict[bytes, str] = field(default_factory=dict)
    """`str(arguments)`, by the hash of their canonical text."""


class ResponseCache:
    """A published response cache on disk. Thread-safe."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Takes the folder of categories and the maximum number of bytes in memory; one larger file is allowed."""
        self._folder, self._max_bytes = folder, max_bytes
        self._files: OrderedDict[Api, _ApiFile] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def find(self, api: Api, arguments: Mapping[str, JSON], *alternatives: Mapping[str, JSON]) -> CachedAnswer | None:
        """The recorded reply to these arguments, None if there is none; `alternatives` are the same in other types."""
        file_cache = self._load_file(api)
        for spelling in (arguments, *alternatives):
            if entry := file_cache.exact.get(str(dict(spelling))):
                return _decode_entry(entry, exact=True)
        text = file_cache.canonical.get(_hash_arguments(arguments))
        return _decode_entry(file_cache.exact[text], exact=False) if text is not None else None

    def takes_long(self, api: Api) -> bool:
        """Whether the API's file is so large that it should be read in a thread."""
        file = self._file(api)
        try:
            return file is not None and file.stat().st_size > LARGE_FILE_BYTES
        except OSError:
            return False

    def examples(self, api: Api, max_examples: int) -> Sequence[RecordedCall]:
        """The first `max_examples` recorded calls of an API that succeeded."""
        entries = self._load_file(api).exact
        answers = ((text, _decode_entry(entry, exact=True)) for text, entry in entries.items())
        succeeded = (
            RecordedCall(_parse_arguments(text) or {}, answer.reply)
            for text, answer in answers
            if answer and answer.reply.status == 200
        )
        return tuple(islice(succeeded, max_examples))

    def _load_file(self, api: Api) -> _ApiFile:
        file = self._file(api)
        try:
            state = file.stat() if file else None
        except OSError:
            state = None
        if file is None or state is None:
            return _ApiFile((0, 0))
        version = (state.st_mtime_ns, state.st_size)
        with self._lock:
            file_cache = self._files.get(api)
            if file_cache is not None and file_cache.version == version:
                self._files.move_to_end(api)
                return file_cache
        fresh = _parse_file(file, version)
        if fresh is None:
            fresh = _ApiFile(version, file_cache.exact, file_cache.canonical) if file_cache else _ApiFile(version)
        self._store(api, fresh)
        return fresh

    def _file(self, api: Api) -> Path | None:
        """Path of the API's file; None for names that would lead out of the folder."""
        if not all(map(_PLAIN.fullmatch, (api.category, api.tool, api.name))):
            return None
        return self._folder / api.category / f"{api.tool}_for_{api.category}" / f"{api.name}.json"

    def _store(self, api: Api, file_cache: _ApiFile) -> None:
        with self._lock:
            if old := self._files.pop(api, None):
                self._bytes -= old.version[1]
            self._files[api] = file_cache
            self._bytes += file_cache.version[1]
            while self._bytes > self._max_bytes and len(self._files) > 1:
                _, oldest = self._files.popitem(last=False)
                self._bytes -= oldest.version[1]


def canonicalize(arguments: Mapping[str, JSON]) -> str:
    """One text for all spellings of the same arguments.

    Names are sorted and in the server's spelling; null and key arguments are dropped; numbers, booleans and strings are
    compared by their text (`5`, `5.0` and `"5"` are equal); a string that contains JSON is compared as JSON.
    """
    renamed = ((argument_name(name), value) for name, value in arguments.items() if value is not None)
    plain = {name: _normalize(value) for name, value in renamed if name not in KEY_ARGUMENTS}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _normalize(value: JSON) -> JSON:
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value).strip()
        data = parse_data(text, repair=False) if text[:1] in ("{", "[") else text
        if not isinstance(data, str):
            return _normalize(data)
        return text.lower() if text.lower() in ("true", "false") else text.removesuffix(".0")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return {str(name): _normalize(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_normalize(item) for item in value]
    return str(value).removesuffix(".0")


def _parse_file(file: Path, version: tuple[int, int]) -> _ApiFile | None:
    """Parse a file of recorded calls; None if it cannot be read, which is logged as a warning."""
    try:
        content = parse_json(read_bytes(file))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, no object")
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read and is skipped: %s", file, error)
        return None
    file_cache = _ApiFile(version)
    for text, entry in content.items():
        arguments = _parse_arguments(text)
        if arguments is None or not isinstance(entry, dict) or "response" not in entry or _is_empty_answer(entry):
            continue
        file_cache.exact[text] = json.dumps([entry.get("error"), entry["response"]]).encode()
        file_cache.canonical.setdefault(_hash_arguments(arguments), text)
    return file_cache


def _parse_arguments(text: str) -> dict[str, JSON] | None:
    """The arguments in a key of a file (a Python dict literal), None if it is not one."""
    try:
        arguments = parse_python_literal(text)
    except ValueError:
        return None
    return {str(name): value for name, value in arguments.items()} if isinstance(arguments, dict) else None


def _is_empty_answer(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is the placeholder of a failed simulator."""
    return str(entry.get("error")).startswith(SIMULATOR_FAILURE) and not entry["response"]


def _decode_entry(entry: bytes, *, exact: bool) -> CachedAnswer | None:
    reply = parse_reply(*json.loads(entry))
    return CachedAnswer(reply, exact) if reply else None


def _hash_arguments(arguments: Mapping[str, JSON]) -> bytes:
    return hashlib.blake2b(canonicalize(arguments).encode("utf-8", "surrogatepass"), digest_size=16).digest()
