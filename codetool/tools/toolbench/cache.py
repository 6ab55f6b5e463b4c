"""StableToolBench's published answers, `<Category>/<tool>_for_<Category>/<api>.json`, read a file at a time.

A file is an object of `str(arguments)` → `{"error", "response"}`. Nothing is read before an API is asked, what was read
last is kept up to a number of bytes, and a file that has changed is read again. Nothing is ever written.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from codetool.toolbench import Api, argument_name, read_text
from codetool.tools.toolbench.replies import Reply, read
from codetool.types import JSON

log = logging.getLogger(__name__)

KEYS = frozenset({"toolbench_key", "rapidapi_key", "api_key"})
"""Arguments that say who asks, not what."""
_PLAIN = re.compile(r"[\w^-]+")


@dataclass(frozen=True, slots=True)
class Known:
    """A recorded call of an API."""

    arguments: Mapping[str, JSON]
    reply: Reply


@dataclass(frozen=True, slots=True)
class Found:
    """The recorded reply to a call."""

    reply: Reply
    exact: bool
    """Whether it was asked exactly so; else in another order, spelling or with other types."""


@dataclass(slots=True)
class _Shelf:
    """One file in memory."""

    version: tuple[int, int]
    """Time of its last change in nanoseconds, and its bytes."""
    exact: dict[str, Known] = field(default_factory=dict)
    canonical: dict[str, Known] = field(default_factory=dict)


class ResponseCache:
    """A published cache on the disk. Calls from several threads are fine."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """Takes the folder of categories, and how many bytes of files are kept in memory, one larger file at least."""
        self._folder, self._most = folder, most_bytes
        self._shelves: OrderedDict[Api, _Shelf] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def find(self, api: Api, arguments: Mapping[str, JSON]) -> Found | None:
        """The reply to these arguments, None where none is recorded."""
        shelf = self._shelf(api)
        if known := shelf.exact.get(str(dict(arguments))):
            return Found(known.reply, True)
        known = shelf.canonical.get(canonical(arguments))
        return Found(known.reply, False) if known else None

    def examples(self, api: Api, most: int) -> Sequence[Known]:
        """The first so many recorded calls of an API that succeeded."""
        known = self._shelf(api).exact.values()
        return tuple(islice((each for each in known if each.reply.status == 200), most))

    def _shelf(self, api: Api) -> _Shelf:
        if not all(map(_PLAIN.fullmatch, (api.category, api.tool, api.name))):
            return _Shelf((0, 0))  # an address may hold anything, and must not lead out of the folder
        file = self._folder / api.category / f"{api.tool}_for_{api.category}" / f"{api.name}.json"
        try:
            state = file.stat()
        except OSError:
            return _Shelf((0, 0))
        version = (state.st_mtime_ns, state.st_size)
        with self._lock:
            shelf = self._shelves.get(api)
            if shelf is not None and shelf.version == version:
                self._shelves.move_to_end(api)
                return shelf
        fresh = _read(file, version)
        if fresh is None:
            fresh = _Shelf(version, shelf.exact, shelf.canonical) if shelf else _Shelf(version)
        self._keep(api, fresh)
        return fresh

    def _keep(self, api: Api, shelf: _Shelf) -> None:
        with self._lock:
            if old := self._shelves.pop(api, None):
                self._bytes -= old.version[1]
            self._shelves[api] = shelf
            self._bytes += shelf.version[1]
            while self._bytes > self._most and len(self._shelves) > 1:
                _, oldest = self._shelves.popitem(last=False)
                self._bytes -= oldest.version[1]


def canonical(arguments: Mapping[str, JSON]) -> str:
    """One text for all spellings of the same arguments.

    Names are in the server's spelling and sorted; null and keys are dropped; numbers, truth values and texts are
    compared by their text (`5`, `5.0` and `"5"` are one), and a text that writes a list or an object is that.
    """
    spelled = ((argument_name(name), value) for name, value in arguments.items() if value is not None)
    plain = {name: _plain(value) for name, value in spelled if name not in KEYS}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


def _plain(value: JSON) -> JSON:
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value).strip()
        data = read_text(text) if text[:1] in ("{", "[") else text
        if not isinstance(data, str):
            return _plain(data)
        return text.lower() if text.lower() in ("true", "false") else text.removesuffix(".0")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value).removesuffix(".0")


def _read(file: Path, version: tuple[int, int]) -> _Shelf | None:
    """The file's calls; None where it cannot be read, which one warning names."""
    try:
        content = json.loads(file.read_bytes())
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, no object")
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read and is skipped: %s", file, error)
        return None
    shelf = _Shelf(version)
    for text, known in _known(content):
        shelf.exact[text] = known
        shelf.canonical.setdefault(canonical(known.arguments), known)
    return shelf


def _known(content: Mapping[str, Any]) -> Iterator[tuple[str, Known]]:
    """The recorded calls of a file under `str(arguments)`; entries that are none are left out."""
    for text, entry in content.items():
        if not isinstance(entry, dict) or "response" not in entry:
            continue
        try:
            arguments = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        reply = read(entry.get("error"), entry["response"])
        if reply is not None and isinstance(arguments, dict):
            yield text, Known({str(name): value for name, value in arguments.items()}, reply)
