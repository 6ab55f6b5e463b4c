"""Settings of `policy=replay`: everything that the command line does not set comes from the source's `config.yaml`.

`python run.py policy=replay policy.source=[FOLDER]` alone therefore repeats the run in FOLDER. A group on the command
line (`search=greedy`) replaces the source's, and a single setting (`search.n=4`) changes the source's group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from rich.console import Console

from codetool.config.plugins import is_declared
from codetool.config.run_config import RunConfig, escape_interpolations, validate
from codetool.errors import ConfigError, MissingError
from codetool.evaluation.result_files import TREES, TreeFile
from codetool.evaluation.result_records import parse_nodes
from codetool.policies.replay import ReplayPolicyConfig
from codetool.prm.recorded_scores import ScoreKey, make_score_key
from codetool.runs import provenance
from codetool.stages.evaluate.recorded_keys import refuse_foreign_keys
from codetool.stages.evaluate.reuse import collect_draw_settings, describe_difference
from codetool.stages.hub_models import use_commits
from codetool.stages.report import read_checksums, read_settings
from codetool.types import Task

COPIED_SETTINGS = (
    "seed", "limit", "benchmark", "tools", "search", "reward", "prm", "answer", "executor", "budget", "repeats",
)  # fmt: skip
"""Top-level settings, besides the policy's, that determine a result; they are copied from the source."""
PRESET_SETTINGS = ("seed",)
"""Settings that are copied also under a preset (`experiment=`), since they determine the draws."""
SAMPLING_SETTINGS = ("temperature", "top_p", "max_tokens")
"""Policy settings that are part of the keys of candidates."""
FOLDER_NAME = re.compile(r"(.+)-[0-9a-f]{8}(?:-[0-9]+)?")
"""Pattern of a run folder's name: benchmark, search, policy and PRM, then the identity."""


@dataclass(frozen=True)
class _Source:
    """A run folder whose candidates are replayed."""

    folder: Path
    settings: Mapping[str, Any]
    made_from: Mapping[str, str]

    @property
    def drawn_by(self) -> dict[str, Any]:
        """What determined the source's candidates, by dotted name."""
        made = provenance.read_provenance(self.folder).identity
        return {"the data of the benchmark": made.checksums.get("benchmark")} | collect_draw_settings(made)


def read_overrides() -> Sequence[str]:
    """Return the overrides on the command line; empty if none was parsed."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def apply_source_settings(
    config: RunConfig, choices: Mapping[str, str], console: Console | None
) -> tuple[RunConfig, Mapping[str, str]]:
    """Return the settings of a replay as its source was configured, and the option of each group.

    A run of another policy is returned unchanged. One line on the console reports what was copied. Raises ConfigError
    for sources that do not belong together, MissingError for one that does not exist.
    """
    if not isinstance(config.policy, ReplayPolicyConfig):
        return config, choices
    sources = [_open_source(path) for path in config.policy.source if path.suffix != ".jsonl"]
    if not sources:
        return config, choices  # files of candidates alone have no settings
    _refuse_mixed(sources)
    named = [override.lstrip("+~").split("=")[0] for override in read_overrides()]
    settings = deepcopy(dict(config.settings))
    taken = _copy_settings(settings, config.settings, sources, named, preset=choices["experiment"] != "none")
    _refuse_foreign_code(settings, config.settings, sources[0].folder)
    refuse_foreign_keys(settings, config.settings, sources[0].folder)
    if console is not None:
        console.print(
            f"policy=replay repeats {sources[0].folder}: {', '.join(['prompt', 'sampling', *taken])} as there, "
            "unless the command line names them",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    repeated = validate(OmegaConf.create(escape_interpolations(settings)))
    models = provenance.read_provenance(sources[0].folder).models
    if "prm" in taken and "prm" in models:
        repeated = use_commits(repeated, {"prm": models["prm"]}, sources[0].folder)
    if "prm" in taken and not any(name.startswith("prm") for name in named):
        _refuse_other_prm(repeated, sources[0])
    return repeated, _name_options(choices, taken, sources[0].folder, settings, config.settings)


def load_recorded_scores(config: RunConfig, tasks: Sequence[Task]) -> dict[ScoreKey, float]:
    """Return the scores of these tasks in a replay's sources if the PRM is the same; else empty."""
    scores: dict[ScoreKey, float] = {}
    if not isinstance(config.policy, ReplayPolicyConfig):
        return scores
    for folder in config.policy.source:
        if (folder / "config.yaml").is_file() and read_settings(folder).get("prm") == config.settings["prm"]:
            if read_checksums(folder).get("sha256 of prm") != config.prm.checksum():
                continue
            for tree in TreeFile(folder / TREES).read_trees(task.id for task in tasks):
                for node in parse_nodes(tree):
                    if node.step is not None and node.latent is not None:
                        scores[make_score_key(tree["task_id"], node.path[:-1], node.step)] = node.latent
    return scores


def refuse_other_tasks(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Raise ConfigError if the source of a replay holds candidates for none of the tasks, or of fewer repeats."""
    if not isinstance(config.policy, ReplayPolicyConfig):
        return
    recorded = config.policy.read_task_ids()
    if tasks and recorded and not recorded & {task.id for task in tasks}:
        raise ConfigError(
            f"policy.source was recorded on another benchmark or split: it holds candidates for {len(recorded)} tasks, "
            f"such as {min(recorded)}, and for none of the {len(tasks)} asked for, such as {tasks[0].id}. Name the "
            "benchmark= and its split that were recorded, or leave them out to repeat the recorded run."
        )
    searches = max((task.repeat for task in tasks if task.id in recorded), default=config.repeats)
    if searches < config.repeats:
        count = f"{searches} search{'' if searches == 1 else 'es'}"
        raise ConfigError(
            f"repeats={config.repeats}: policy.source holds candidates of {count} of each task. Take "
            f"repeats={searches}, or record more by the recorded run's command with repeats={config.repeats}."
        )


def _open_source(folder: Path) -> _Source:
    if not folder.exists():
        raise MissingError(f"policy.source: there is no folder {folder} (from {Path.cwd()}).")
    if not (folder / "config.yaml").is_file() or not (folder / "candidates.jsonl").is_file():
        raise ConfigError(
            f"policy.source: {folder} is no run folder: it needs config.yaml and candidates.jsonl. Name one, "
            "outputs/evaluate/NAME, or a file of candidates, which then says nothing of how they were drawn."
        )
    return _Source(folder, read_settings(folder), read_checksums(folder))


def _refuse_mixed(sources: Sequence[_Source]) -> None:
    """Raise ConfigError if the candidates of two sources were drawn with different settings."""
    for other in sources[1:]:
        if differences := describe_difference(other.drawn_by, sources[0].drawn_by, "in the first"):
            raise ConfigError(
                f"policy.source mixes runs that drew differently, {sources[0].folder} and {other.folder}: "
                f"{differences}. Name runs of one policy, benchmark and seed."
            )


def _copy_settings(
    settings: dict[str, Any], own: Mapping[str, Any], sources: Sequence[_Source], named: Sequence[str], *, preset: bool
) -> list[str]:
    """Copy the first source's values into `settings` unless the command line sets them; return the copied names.

    Raises ConfigError if the sources differ in a copied setting.
    """
    recorded = sources[0].settings
    taken = []
    for name in PRESET_SETTINGS if preset else COPIED_SETTINGS:
        if name in named or name not in recorded or name not in settings or (name == "tools" and "benchmark" in named):
            continue
        for other in sources[1:]:
            if other.settings.get(name) != recorded[name]:
                raise ConfigError(
                    f"policy.source: {name} differs between {sources[0].folder} and {other.folder}. Name it: {name}=…"
                )
        settings[name] = deepcopy(recorded[name])
        taken.append(name)
    own_prompt = any(name.startswith(("policy.prompt", "policy_prompt@policy.prompt")) for name in named)
    if not own_prompt and "prompt" in recorded["policy"]:  # a plug-in's policy may have it under another name
        settings["policy"]["prompt"] = deepcopy(recorded["policy"]["prompt"])
    for name in SAMPLING_SETTINGS:
        if f"policy.{name}" not in named:
            settings["policy"][name] = recorded["policy"].get(name)
    if "policy.diversity" not in named:
        settings["policy"]["diversity"] = recorded["policy"].get("diversity", "none")
    for name in named:
        if "." in name and "@" not in name and name.split(".")[0] in taken:
            _restore_override(settings, own, name.split("."))
    return taken


def _restore_override(settings: dict[str, Any], own: Mapping[str, Any], path: Sequence[str]) -> None:
    """Set one setting of the command line within a group that was copied from the source."""
    value: Any = own
    for key in path:
        value = value[key] if isinstance(value, Mapping) and key in value else None
    group: Any = settings
    for key in path[:-1]:
        group = group.get(key)
        if not isinstance(group, dict):
            raise ConfigError(f"{'.'.join(path)}: the group as it was recorded has no such option.")
    group[path[-1]] = value


def _refuse_foreign_code(settings: Any, own: Any, folder: Path) -> None:
    """Raise ConfigError if a recorded `_target_` is no plug-in's, CodeTool's or the user's own, since it would run."""
    if isinstance(settings, Mapping):
        target = settings.get("_target_")
        chosen = own.get("_target_") if isinstance(own, Mapping) else None
        if target is not None and target != chosen and not is_declared(str(target)):
            raise ConfigError(
                f"policy.source: {folder / 'config.yaml'} names {target}, which is no part of CodeTool. If you "
                "trust it, install its package, or name that option on the command line."
            )
    items = settings.items() if isinstance(settings, Mapping) else enumerate(settings) if _is_list(settings) else ()
    for key, value in items:
        below = own.get(key) if isinstance(own, Mapping) else None
        _refuse_foreign_code(value, below, folder)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _refuse_other_prm(config: RunConfig, source: _Source) -> None:
    """Raise ConfigError if the PRM's files differ from those that scored the source."""
    recorded = source.made_from.get("sha256 of prm")
    current = config.prm.checksum() if recorded is not None else None
    if recorded is not None and current != recorded:
        raise ConfigError(
            f"policy.source: {source.folder} was scored by another PRM (sha256 {recorded[:8]}) than prm.path leads to "
            f"now (sha256 {str(current)[:8]}), so its search would take other paths. Restore those files, or name the "
            "PRM to search with: prm=…"
        )


def _name_options(
    choices: Mapping[str, str], taken: Sequence[str], folder: Path, settings: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, str]:
    """Return the option of each group; those of copied groups are read from the name of the source's folder."""
    match = FOLDER_NAME.fullmatch(folder.resolve().name)
    parts = match[1].split("-") if match else []
    recorded = dict(zip(("benchmark", "search", "policy", "prm"), parts, strict=True)) if len(parts) == 4 else {}
    options = dict(choices)
    for name in taken:
        if name in choices and settings[name] != own[name]:
            options[name] = recorded.get(name, "recorded")
    return options
