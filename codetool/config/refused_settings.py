"""Settings of a composed configuration that are valid one by one, but would be ignored or run code of others.

`config` is a configuration as Hydra composes it, with its own settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from codetool.config.ambiguous_options import find_ambiguous_options
from codetool.config.config_sources import list_options, map_names_to_stages
from codetool.config.override_errors import NO_SWEEPER

LAUNCHER_PACKAGES = ("hydra._internal.core_plugins.", "hydra_plugins.")
"""Packages of launchers: Hydra's own, and those that are installed as its plug-ins."""
BASIC_SWEEPER = {
    "_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "max_batch_size": None, "params": None,
}  # fmt: skip
"""Hydra's sweeper settings when none is chosen."""


def find_refused_settings(config: DictConfig) -> Iterator[str]:
    """Yield a line for each setting that the stage does not read, that a sweep ignores, or that runs other code."""
    owners = map_names_to_stages()
    if OmegaConf.is_missing(config, "stage") or not isinstance(config.get("stage"), str):
        yield f"stage: is missing. Choose one of them: {', '.join(list_options('stage'))}"
        return
    stage = str(config.stage)
    chosen = OmegaConf.select(config, "hydra.runtime.choices.stage")
    if chosen is not None and chosen != stage:
        yield (
            f"stage={stage}: a preset sets it as a value, which leaves the settings of stage={chosen}. Write "
            f"`- override /stage: {stage}` under the preset's defaults."
        )
        return
    yield from find_ambiguous_options(config.hydra.runtime.choices)
    for name in map(str, config):
        if name in owners and stage not in owners[name]:
            yield f"{name}: a preset sets it, and only stage={', '.join(owners[name])} reads it, not stage={stage}."
    sweeper = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    if sweeper != BASIC_SWEEPER:
        assert isinstance(sweeper, dict)
        params = sweeper.get("params") or {}
        shown_setting = f"hydra.sweeper.params={params}" if params else "hydra.sweeper"
        yield f"{shown_setting}: a preset or the command line sets it. {NO_SWEEPER}"
    yield from _find_hydra_code(config.hydra)
    if OmegaConf.select(config, "hydra.mode") is not None and str(config.hydra.mode) != "RunMode.RUN":
        yield f"hydra.mode={config.hydra.mode}: add -m for a sweep, or leave -m out for a single run."


def _find_hydra_code(hydra: DictConfig) -> Iterator[str]:
    """Yield a line for each setting of Hydra by which a preset or the command line would run other code."""
    if hydra.callbacks:
        yield "hydra.callbacks: CodeTool uses no callbacks of Hydra, which would run code of their own. Leave them out."
    if dict(hydra.job.env_set):
        yield "hydra.job.env_set: set variables before the command, NAME=VALUE codetool …, and leave this out."
    launcher = OmegaConf.select(hydra, "launcher._target_", default="")
    if not str(launcher).startswith(LAUNCHER_PACKAGES):
        yield f"hydra.launcher._target_={launcher}: is no launcher. Choose one with hydra/launcher=NAME."
    for name in ("job_logging", "hydra_logging"):
        settings = OmegaConf.to_container(hydra[name], resolve=False)
        if any(
            key == "()" or (key == "class" and not str(value).startswith("logging."))
            for key, value in _iterate_items(settings)
        ):
            yield f"hydra.{name}: names code that is no part of Python's logging. Leave it as it is."


def _iterate_items(settings: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every key and value of nested settings."""
    for key, value in (
        settings.items() if isinstance(settings, dict) else enumerate(settings) if isinstance(settings, list) else ()
    ):
        yield key, value
        yield from _iterate_items(value)
