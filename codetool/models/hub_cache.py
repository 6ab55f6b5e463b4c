"""Find and check downloads in the cache folder of Hugging Face's tools on this machine, without any request.

In the cache, `models--OWNER--NAME/refs/REVISION` holds the commit of a branch or tag when it was last downloaded, and
the folder `models--OWNER--NAME/snapshots/COMMIT` the files of a commit.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from codetool.errors import MissingError, WriteError
from codetool.runs.journal import atomic_write

MAIN = "main"
"""Branch that is meant where no revision is named."""
COMMIT_HASH = re.compile("[0-9a-f]{40}")
"""Pattern of the id of a commit, which is the name of a snapshot's folder."""
REVISION_PATTERN = re.compile(r"[\w-]+([./]+[\w-]+)*")


def _check_revision(revision: str) -> str:
    if not REVISION_PATTERN.fullmatch(revision) or ".." in revision:
        raise ValueError("expected the name of a branch or tag, or the id of a commit")
    return revision


Revision = Annotated[str, AfterValidator(_check_revision)]
"""Name of a branch or tag, or id of a commit."""


def find_hub_cache() -> Path:
    """Return the folder of Hugging Face's download cache, according to its environment variables."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def get_snapshot_folder(cache: Path, model: str, commit: str) -> Path:
    """Return the folder of a commit's files, which may not exist yet."""
    return _get_model_folder(cache, model) / "snapshots" / commit


def read_commit(cache: Path, model: str, revision: str) -> str | None:
    """Return the commit that a branch or tag had when it was last downloaded; None if it never was."""
    file = _get_model_folder(cache, model) / "refs" / revision
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def write_commit(cache: Path, model: str, revision: str, commit: str) -> None:
    """Record the commit of a branch or tag, so that later runs and an interrupted download keep to it.

    Raises WriteError if the cache cannot be written.
    """
    file = _get_model_folder(cache, model) / "refs" / revision
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"The hub cache {cache} cannot be written: {error.strerror}. Set HF_HUB_CACHE.") from error
    atomic_write(file, [commit.encode()])


def find_newest_snapshot(cache: Path, model: str) -> Path | None:
    """Return the newest complete snapshot of a model, whatever its revision; None without any."""
    snapshots = (_get_model_folder(cache, model) / "snapshots").glob("*")
    return max(filter(is_complete, snapshots), key=lambda folder: folder.stat().st_mtime, default=None)


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds a model's configuration and all of its weights.

    `hub_download` fetches the weights last, so its downloads are then complete.
    """
    return (folder / "config.json").is_file() and has_weights(folder)


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds all of a model's weights as safetensors."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    return all((folder / name).is_file() for name in set(load_json(index)["weight_map"].values()))


def load_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a model, empty for another value. Raises MissingError if it is no JSON."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MissingError(f"{file} is no JSON: {error}. Is the download complete?") from error
    return content if isinstance(content, dict) else {}


def _get_model_folder(cache: Path, model: str) -> Path:
    return cache / f"models--{model.replace('/', '--')}"
