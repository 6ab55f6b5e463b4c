"""The models of a hub that a run uses: what has to be downloaded, and the commits that its folder keeps to.

A run folder records the commit of each model in `provenance.json`. The same command goes on with these commits, also
when `main` leads to others meanwhile; `fresh=true` begins with those of now.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.models.hub_cache import COMMIT_HASH, MAIN, find_hub_cache, read_commit
from codetool.models.hub_model import HubModel
from codetool.prm.ensemble import EnsemblePRMConfig
from codetool.runs.provenance import PROVENANCE_FILE, read_provenance

MODEL_GROUPS = ("policy", "prm", "answer")
"""Top-level settings whose options can have a model of the hub."""

log = logging.getLogger(__name__)


def find_hub_models(config: RunConfig, groups: tuple[str, ...] = MODEL_GROUPS) -> dict[str, HubModel]:
    """Return the models of the hub that this process needs, by group; members of a PRM ensemble by `prm.members.NAME`.

    An option has one if its method `hub_model()` returns one. Raises MissingError if a model can not be had.
    """
    options: dict[str, Any] = {group: getattr(config, group, None) for group in groups}
    if isinstance(ensemble := options.get("prm"), EnsemblePRMConfig):
        options |= {f"prm.members.{name}": member for name, member in ensemble.members.items()}
    models = {group: option.hub_model() for group, option in options.items() if hasattr(option, "hub_model")}
    return {group: model for group, model in models.items() if model is not None}


def record_models(models: Mapping[str, HubModel]) -> dict[str, dict[str, str | None]]:
    """Return the name, requested revision and commit of each model, for `provenance.json`."""
    return {group: model.record() for group, model in models.items()}


def print_downloads(models: Mapping[str, HubModel], console: Console, verb: str) -> bool:
    """Print a line for each model that is not on this machine, for dry runs; return whether there is one."""
    lines = [line for model in models.values() if (line := model.describe_download()) is not None]
    for line in dict.fromkeys(lines):  # policy and PRM can be one model
        console.print(f"{verb}: {line}", markup=False, highlight=False, soft_wrap=True)
    return bool(lines)


def download_models(models: Mapping[str, HubModel]) -> None:
    """Download the models that are not on this machine. Call it in the main thread, so that Ctrl-C ends it.

    Raises MissingError if one cannot be had.
    """
    for model in models.values():
        model.download()


@contextmanager
def forbid_hub_requests() -> Iterator[None]:
    """Let `huggingface_hub` ask nothing in this process and its children while the context is open."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("HF_HUB_OFFLINE")
        if before is not None:
            os.environ["HF_HUB_OFFLINE"] = before


def keep_recorded_commits(config: RunConfig, parent: Path, stem: str, settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings with the commits that the latest folder of the same result recorded.

    Folders are `parent/STEM-*`; their result is the same if `settings` are among those that they hash. Without such a
    folder, and with `fresh`, the settings are returned as they are.
    """
    if config.fresh or not any(hasattr(getattr(config, group, None), "hub_model") for group in MODEL_GROUPS):
        return config
    hashed = json.loads(json.dumps(settings, default=str))
    files = sorted(parent.glob(f"{stem}-*/{PROVENANCE_FILE}"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        try:
            recorded = read_provenance(file.parent)
        except ConfigError:
            continue  # it is reported when the folder is opened
        if recorded.models and hashed.items() <= recorded.identity.settings.items():
            return use_commits(config, recorded.models, file.parent)
    return config


def use_commits(config: RunConfig, models: Mapping[str, Mapping[str, Any]], folder: Path) -> RunConfig:
    """Return the settings with recorded commits as revisions, where model and requested revision are as recorded.

    Logs a line if the last download of a model has another commit. `folder` is where they were recorded.
    """
    for group, recorded in models.items():
        option: Any = getattr(config, group, None)
        asked = (getattr(option, "model", None), getattr(option, "revision", None))
        commit = str(recorded.get("commit"))
        if asked != (recorded.get("model"), recorded.get("revision")) or not COMMIT_HASH.fullmatch(commit):
            continue
        branch = recorded.get("revision") or MAIN
        if (latest := read_commit(find_hub_cache(), str(asked[0]), branch)) not in (None, commit):
            log.warning(
                "%s was begun with commit %.12s of %s and keeps to it; %s is %.12s meanwhile",
                folder, commit, asked[0], branch, latest,
            )  # fmt: skip
        replaced: Any = {group: replace(option, revision=commit)}
        config = replace(config, **replaced)
    return config
