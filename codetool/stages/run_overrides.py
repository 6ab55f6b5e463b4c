"""Run the stage, or the chain of stages, that a list of overrides describes, in this process.

Each stage of a chain has a run folder of its own, named by its own settings and by what it takes from the stages before
it. So a stopped chain goes on where it was stopped, and chains that begin alike share the results of their beginnings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from codetool.config.config_sources import initialize_hydra, parse_added_folders
from codetool.config.invocation import invoke
from codetool.config.override_errors import get_key, quote_value
from codetool.config.overrides import compose_all, is_hydra_override, validate_all
from codetool.config.read_conditions import drop_other_model
from codetool.config.run_config import RunConfig
from codetool.config.stage_chain import parse_chain, select_overrides, split_prefix
from codetool.errors import CodeToolError, ConfigError
from codetool.stages.load_stages import load_stage
from codetool.stages.run_folder import check_outputs_folder
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.shards.run_shards import refuse_shard

Link = Callable[[RunOutcome], Sequence[str]]
"""Makes the overrides by which a later stage uses the outcome of an earlier one."""


def _use_folder(setting: str, is_list: bool) -> Link:
    def link(outcome: RunOutcome) -> Sequence[str]:
        folder = quote_value(str(outcome.folder))
        return [f"{setting}=[{folder}]" if is_list else f"{setting}={folder}"]

    return link


LINKS: Mapping[tuple[str, str], Link] = {
    ("collect", "train"): _use_folder("train.files", is_list=True),
    ("collect", "evaluate_prm"): _use_folder("evaluate_prm.runs", is_list=True),
    ("evaluate", "judge"): _use_folder("judge_stage.folder", is_list=False),
    ("train", "collect"): lambda outcome: outcome.usage,
    ("train", "evaluate_prm"): lambda outcome: outcome.usage,
    ("train", "evaluate"): lambda outcome: outcome.usage,
}
"""What a stage takes from the latest run of an earlier one, by (earlier, later)."""


def run_overrides(
    overrides: Sequence[str], flags: Sequence[str], console: Console, cell: Mapping[str, Any] | None = None
) -> dict[str, RunOutcome]:
    """Run the stage or stages of the overrides, and return the outcome of each stage by its name.

    `flags` may add folders of options; `cell` are the keyword arguments of a stage in a sweep. A chain ends with the
    first stage that has failed tasks, for the next ones would go on from a part of its result. Raises CodeToolError.
    """
    stages = parse_chain(overrides)
    if not stages:
        with invoke(overrides, flags) as (config, choices):
            return {config.stage: load_stage(config.stage)(config, choices, console, **(cell or {}))}
    selected = _select_overrides(overrides, flags, stages)
    outcomes: dict[str, RunOutcome] = {}
    for stage in stages:
        words = link_outcomes(stage, selected[stage], overrides, outcomes)
        if not cell:
            console.print(f"--- stage={stage}", markup=False, highlight=False)
        with invoke(words, flags) as (config, choices):
            if config.dry_run and (missing := _find_missing(outcomes)):
                console.print(f"stage={stage}: waits for {missing}", markup=False, highlight=False, soft_wrap=True)
                return outcomes
            outcomes[stage] = load_stage(stage)(config, choices, console, **(cell or {}))
        if outcomes[stage].failed and stage != stages[-1]:
            raise CodeToolError(
                f"stage={stage}: {outcomes[stage].failed} tasks failed internally, so the stages after it do not run: "
                f"{outcomes[stage].folder}. The same command tries these tasks again."
            )
    return outcomes


def check_chain(overrides: Sequence[str], flags: Sequence[str]) -> None:
    """Check the settings of all stages of a chain before the first one runs. Raises ConfigError with all errors."""
    lines: list[str] = []
    for stage, selected in _select_overrides(overrides, flags, parse_chain(overrides)).items():
        try:
            [config] = validate_all(compose_all(selected, flags=flags))
            check_outputs_folder(config.outputs)
            refuse_shard(config, "the stages of a chain go on from whole results. Run the shards of this stage alone")
            _check_model(config)
        except ConfigError as error:
            lines += [f"stage={stage}: {line}" for line in str(error).splitlines()]
    if lines:
        raise ConfigError("\n".join(lines))


def _check_model(config: RunConfig) -> None:
    """Raise ConfigError if a stage has no model to train or to ask, before the stages that run before it."""
    if config.stage == "train":
        from codetool.stages.train.train_dataset import check_trainable  # here: other chains do not need it

        check_trainable(config)
    elif config.stage == "judge" and hasattr(config.judge, "make_endpoint"):
        config.judge.make_endpoint()


def _select_overrides(overrides: Sequence[str], flags: Sequence[str], stages: Sequence[str]) -> dict[str, list[str]]:
    with initialize_hydra(parse_added_folders(flags, [each for each in overrides if is_hydra_override(each)])):
        return drop_other_model(select_overrides(overrides, stages))


def link_outcomes(
    stage: str, selected: Sequence[str], overrides: Sequence[str], outcomes: Mapping[str, RunOutcome]
) -> list[str]:
    """Return the overrides of a stage with those by which it uses the outcomes of earlier stages.

    What the user has set for this stage, by its name or by a prefix, stays.
    """
    prefixed = {get_key(own).split(".")[0] for prefix, own in map(split_prefix, overrides) if prefix == stage}
    words = list(selected)
    for earlier, outcome in outcomes.items():
        links = LINKS[earlier, stage](outcome) if (earlier, stage) in LINKS else ()
        if outcome.usage and links and get_key(links[0]) in prefixed:
            continue  # another model was asked for
        given = {get_key(word) for word in words}
        if outcome.usage:
            words = [word for word in words if get_key(word) not in {get_key(link) for link in links}]
            given = set()
        words += [link for link in links if get_key(link) not in given]
    return words


def _find_missing(outcomes: Mapping[str, RunOutcome]) -> str | None:
    """Return the earlier stage of a dry run that has no result yet, with its folder; None if all have one."""
    missing = [
        f"stage={stage}: {outcome.folder}"
        for stage, outcome in outcomes.items()
        if not (outcome.folder / "metrics.json").is_file()
    ]
    return missing[0] if missing else None
