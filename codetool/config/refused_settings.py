"""Settings of a composed configuration that are valid one by one, but would be ignored or run code of others.

`config` is a configuration as Hydra composes it, with its own settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from codetool.config.ambiguous_options import find_ambiguous_options
from codetool.config.config_sources import list_options
from codetool.config.setting_readers import map_names_to_stages, name_readers

LAUNCHER_PACKAGES = ("hydra._internal.core_plugins.", "hydra_plugins.")  # text, not imported: Hydra's own launcher
"""Packages of launchers: Hydra's own, and those that are installed as its plug-ins."""
SWEEPER = "hydra_plugins.codetool_sweeper.CodeToolSweeper"
SAMPLER_PACKAGE = "optuna.samplers."


def find_refused_settings(config: DictConfig) -> Iterator[str]:
    """Yield a line for each setting that the stage does not read, or that runs other code."""
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
            yield f"{name}: a preset sets it, and {name_readers(owners[name])}, not stage={stage}."
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
    sweeper = OmegaConf.select(hydra, "sweeper._target_", default="")
    if sweeper != SWEEPER:
        yield f"hydra.sweeper._target_={sweeper}: is no sweeper of CodeTool. Choose one with hydra/sweeper=NAME."
    sampler = OmegaConf.select(hydra, "sweeper.sampler._target_", default=SAMPLER_PACKAGE)
    if not str(sampler).startswith(SAMPLER_PACKAGE):
        yield f"hydra.sweeper.sampler._target_={sampler}: is no sampler of Optuna. Choose hydra/sweeper/sampler=NAME."
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
