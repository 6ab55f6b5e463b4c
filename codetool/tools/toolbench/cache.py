"""StableToolBench's published answers, `<Category>/<tool>_for_<Category>/<api>.json`, read a file at a time.

A file is an object of `str(arguments)` → `{"error", "response"}`. Nothing is read before an API is asked, what was read
last is kept up to a number of bytes, and a file that has changed is read again. Nothing is ever written.
"""

from __future__ import annotations

import ast
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

from codetool.tool_calls.toolbench_api import Api, argument_name, read_text
from codetool.tools.toolbench.reply_parser import SIMULATOR_FAILURE, Reply, parse_reply
from codetool.types import JSON

log = logging.getLogger(__name__)

KEY_ARGUMENTS = frozenset({"toolbench_key", "rapidapi_key", "api_key"})
"""Arguments that say who asks, not what."""
LARGE_FILE_BYTES = 1 << 20
"""Bytes of a file that takes some ten milliseconds to read; a change of thread costs about as much under load."""
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
    """Whether it was asked exactly so; else in another order, spelling or with other types."""


@dataclass(slots=True)
class _ApiFile:
    """One file in memory: its entries stay texts until they are asked for, which takes a fifth of the room."""

    version: tuple[int, int]
    """Time of its last change in nanoseconds, and its bytes."""
    exact: dict[str, bytes] = field(default_factory=dict)
    """JSON of the reply, by `str(arguments)`."""
    canonical: dict[bytes, str] = field(default_factory=dict)
    """`str(arguments)` by the digest of their canonical text."""


class ResponseCache:
    """A published cache on the disk. Calls from several threads are fine."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Takes the folder of categories, and how many bytes of files are kept in memory, one larger file at least."""
        self._folder, self._most = folder, most_bytes
        self._files: OrderedDict[Api, _ApiFile] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def find(self, api: Api, arguments: Mapping[str, JSON], *otherwise: Mapping[str, JSON]) -> CachedAnswer | None:
        """The reply to these arguments, None where none is recorded; `otherwise` are the same with other types."""
        shelf = self._load_file(api)
        for each in (arguments, *otherwise):
            if entry := shelf.exact.get(str(dict(each))):
                return _decode_entry(entry, exact=True)
        text = shelf.canonical.get(_hash_arguments(arguments))
        return _decode_entry(shelf.exact[text], exact=False) if text is not None else None

    def takes_long(self, api: Api) -> bool:
        """Whether the API's file is so large that reading it would hold up others."""
        file = self._file(api)
        try:
            return file is not None and file.stat().st_size > LARGE_FILE_BYTES
        except OSError:
            return False

    def examples(self, api: Api, most: int) -> Sequence[RecordedCall]:
        """The first so many recorded calls of an API that succeeded."""
        shelf = self._load_file(api).exact
        answers = ((text, _decode_entry(entry, exact=True)) for text, entry in shelf.items())
        succeeded = (
            RecordedCall(_parse_arguments(text) or {}, answer.reply)
            for text, answer in answers
            if answer and answer.reply.status == 200
        )
        return tuple(islice(succeeded, most))

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
            shelf = self._files.get(api)
            if shelf is not None and shelf.version == version:
                self._files.move_to_end(api)
                return shelf
        fresh = _parse_file(file, version)
        if fresh is None:
            fresh = _ApiFile(version, shelf.exact, shelf.canonical) if shelf else _ApiFile(version)
        self._store(api, fresh)
        return fresh

    def _file(self, api: Api) -> Path | None:
        """Where the API's answers lie; None for names of an address that would lead out of the folder."""
        if not all(map(_PLAIN.fullmatch, (api.category, api.tool, api.name))):
            return None
        return self._folder / api.category / f"{api.tool}_for_{api.category}" / f"{api.name}.json"

    def _store(self, api: Api, shelf: _ApiFile) -> None:
        with self._lock:
            if old := self._files.pop(api, None):
                self._bytes -= old.version[1]
            self._files[api] = shelf
            self._bytes += shelf.version[1]
            while self._bytes > self._most and len(self._files) > 1:
                _, oldest = self._files.popitem(last=False)
                self._bytes -= oldest.version[1]


def canonicalize(arguments: Mapping[str, JSON]) -> str:
    """One text for all spellings of the same arguments.

    Names are in the server's spelling and sorted; null and keys are dropped; numbers, truth values and texts are
    compared by their text (`5`, `5.0` and `"5"` are one), and a text that writes a list or an object is that.
    """
    spelled = ((argument_name(name), value) for name, value in arguments.items() if value is not None)
    plain = {name: _normalize(value) for name, value in spelled if name not in KEY_ARGUMENTS}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _normalize(value: JSON) -> JSON:
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value).strip()
        data = read_text(text, repair=False) if text[:1] in ("{", "[") else text
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
    """The file's calls; None where it cannot be read, which one warning names."""
    try:
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, no object")
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read and is skipped: %s", file, error)
        return None
    shelf = _ApiFile(version)
    for text, entry in content.items():
        arguments = _parse_arguments(text)
        if arguments is None or not isinstance(entry, dict) or "response" not in entry or _is_empty_answer(entry):
            continue
        shelf.exact[text] = json.dumps([entry.get("error"), entry["response"]]).encode()
        shelf.canonical.setdefault(_hash_arguments(arguments), text)
    return shelf


def _parse_arguments(text: str) -> dict[str, JSON] | None:
    """The arguments that a key of a file writes, None where it is none."""
    try:
        arguments = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return {str(name): value for name, value in arguments.items()} if isinstance(arguments, dict) else None


def _is_empty_answer(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is what a simulator left where it failed."""
    return str(entry.get("error")).startswith(SIMULATOR_FAILURE) and not entry["response"]


def _decode_entry(entry: bytes, *, exact: bool) -> CachedAnswer | None:
    reply = parse_reply(*json.loads(entry))
    return CachedAnswer(reply, exact) if reply else None


def _hash_arguments(arguments: Mapping[str, JSON]) -> bytes:
    return hashlib.blake2b(canonicalize(arguments).encode("utf-8", "surrogatepass"), digest_size=16).digest()
