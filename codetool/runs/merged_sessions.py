"""Merge the provenance of a run's parts, such as its shards, into the provenance of the run.

A merged session has the fields of the part's, and `part`: the name of the part, the id of its result and the session's
number there. `done` counts the results of the whole run: those that it had before, and those of the part's sessions.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.runs import journal
from codetool.runs.provenance import PROVENANCE_FILE, read_content

PART_KEY = "part"
"""Field of a merged session, or of a merged line of a journal, that names the part that it comes from."""


def merge_sessions(folder: Path, results: Mapping[Path, int], done: int) -> None:
    """Add the sessions of the parts to the folder's provenance, and renew those that were merged before.

    `results` is the number of results in each part, and `done` that in the folder before. Raises ConfigError if a part
    is of another result than the folder, or if a file is damaged.
    """
    merged = read_content(folder)
    for part, count in results.items():
        if not (content := read_content(part)):
            continue
        merged = merged or {**content, "result": uuid.uuid4().hex, "sessions": []}
        if content["identity"]["digest"] != merged["identity"]["digest"]:
            raise ConfigError(
                f"{part} is of another result ({content['identity']['digest']}) than {folder} "
                f"({merged['identity']['digest']}). Move it away."
            )
        done = _add_sessions(merged["sessions"], part.name, content, count, done)
    if merged:
        text = json.dumps(merged, indent=2, default=str)
        journal.atomic_write(folder / PROVENANCE_FILE, [text.encode() + b"\n"])


def _add_sessions(merged: list[dict[str, Any]], name: str, content: Mapping[str, Any], count: int, done: int) -> int:
    """Add the sessions of a part with `count` results; return the results after them, of `done` before them."""
    places = {tuple(session[PART_KEY].values()): place for place, session in enumerate(merged) if PART_KEY in session}
    sessions: Sequence[Mapping[str, Any]] = content["sessions"]
    counts = [*(session["done"] or 0 for session in sessions), count]
    for number, session in enumerate(sessions, start=1):
        part = {"name": name, "result": content["result"], "session": number}
        if (place := places.get(tuple(part.values()))) is not None:
            merged[place] = {**session, PART_KEY: part, "done": merged[place]["done"]}
            continue
        merged.append({**session, PART_KEY: part, "done": done})
        done += max(0, counts[number] - counts[number - 1])
    return done
